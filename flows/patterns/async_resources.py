"""Asynchronous resources: opened side by side, used on the flow's own event loop, closed when nothing needs them.

By hand: `async with a: async with b: ...`, one after the other, and a background writer that somebody has to drain.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan

Ask = Callable[[int], Awaitable[str]]
Write = Callable[[str], None]


async def open_client() -> AsyncIterator[Ask]:
    await asyncio.sleep(0.1)  # connecting; the writer below opens meanwhile
    yield lambda number: asyncio.sleep(0.01, f"the moon answers call {number}")


async def open_writer() -> AsyncIterator[Write]:
    queue = asyncio.Queue[str | None]()

    async def drain() -> None:
        while (entry := await queue.get()) is not None:
            print(entry)

    worker = asyncio.create_task(drain())
    try:
        yield queue.put_nowait
    finally:
        await asyncio.gather(queue.put(None), worker)  # closing waits until all are written


class Visits(containers.DeclarativeContainer):
    client = providers.Resource(open_client)
    writer = providers.Resource(open_writer)


@task
@inject
async def visit(number: int, ask: Ask = Provide[Visits.client], write: Write = Provide[Visits.writer]) -> None:
    write(await ask(number))


@flow(name="visits")
@lifespan(Visits)
async def visits(number: int) -> str:
    await asyncio.gather(*(visit(index) for index in range(number)))
    return f"{number} visits at the same time"


def demo() -> str:
    return asyncio.run(visits(3))


if __name__ == "__main__":
    print(demo())
