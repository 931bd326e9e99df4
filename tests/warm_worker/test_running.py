"""What a run leaves behind in a warm process, and what the next one finds of it."""

from __future__ import annotations

import asyncio

from prefect_lifespan.warm_worker.running import run_on_loop


def test_tasks_that_a_run_leaves_on_the_loop_end_with_it_and_what_is_kept_open_goes_on() -> None:
    seen: list[str] = []

    async def goes_on(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(f"{name} ends")

    async def kept(opened: asyncio.Event) -> None:
        children.append(asyncio.create_task(goes_on("kept")))
        opened.set()

    async def leaves() -> None:
        opened = asyncio.Event()
        # As a resource of the process is entered: in a task of its own kind, for which the loop is not asked.
        children.append(asyncio.Task(kept(opened), loop=asyncio.get_running_loop()))
        await opened.wait()
        children.append(asyncio.create_task(starts_more()))
        await asyncio.sleep(0)

    async def starts_more() -> None:
        children.append(asyncio.create_task(goes_on("left by what was left")))
        await goes_on("left")

    children: list[asyncio.Task[None]] = []
    with asyncio.Runner() as runner:
        run_on_loop(leaves(), runner)
        assert sorted(seen) == ["left by what was left ends", "left ends"]
    assert seen[-1] == "kept ends"
