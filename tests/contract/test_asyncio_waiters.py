"""What `prefect_lifespan.waiters` and `in_flight` rest on: a task's callbacks tell who waits for it; which task runs."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from prefect_lifespan.in_flight import task_on
from prefect_lifespan.waiters import waiting_for_this_task

name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


async def directly(task: asyncio.Task[Any]) -> None:
    await task


async def through_a_task(task: asyncio.Task[Any]) -> None:
    waiter = asyncio.create_task(directly(task), context=contextvars.Context())
    await waiter


WAYS: dict[str, Callable[[asyncio.Task[Any]], Awaitable[Any]]] = {
    "await": directly,
    "gather": lambda task: asyncio.gather(task),
    "wait": lambda task: asyncio.wait([task]),
    "wait_for": lambda task: asyncio.wait_for(task, 10),
    "shield": asyncio.shield,
    "a task": through_a_task,
}


@pytest.mark.parametrize("way", WAYS)
def test_whoever_waits_for_a_task_is_found_by_its_context(way: str) -> None:
    async def wait(task: asyncio.Task[Any]) -> None:
        name.set(way)
        await WAYS[way](task)

    left: list[asyncio.Task[None]] = []

    async def main() -> set[str]:
        task = asyncio.current_task()
        assert task is not None
        left.append(asyncio.create_task(wait(task)))
        for _ in range(5):
            await asyncio.sleep(0)
        return {context.get(name, "nobody") for context in waiting_for_this_task()}

    async def outermost() -> set[str]:  # whose own waiting is found, too
        found = await asyncio.create_task(main())
        await asyncio.wait(left)
        return found

    assert asyncio.run(outermost()) == {way, "nobody"}


def test_who_is_told_of_a_task_s_end_without_waiting_for_it_is_not_found() -> None:
    async def main() -> list[contextvars.Context]:
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: None)
        return list(waiting_for_this_task())

    assert asyncio.run(main()) == []


def test_where_no_task_runs_nobody_waits() -> None:
    assert list(waiting_for_this_task()) == []


def test_the_task_that_runs_on_an_event_loop_is_what_asyncio_says() -> None:
    async def main() -> tuple[object, object]:
        loop = asyncio.get_running_loop()
        here = task_on(loop), asyncio.current_task()
        beside = await asyncio.create_task(asyncio.to_thread(task_on, loop))
        assert beside is not here[0] or beside is None  # this one waits meanwhile
        return here

    told, expected = asyncio.run(main())
    assert told is expected is not None


def test_where_a_callback_runs_no_task_does() -> None:
    async def main() -> object:
        found: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: found.set_result(task_on(asyncio.get_running_loop())))
        return await found

    assert asyncio.run(main()) is None
