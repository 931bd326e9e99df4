"""Asynchronous resources: opened side by side, used on the flow's own event loop, closed when nothing needs them.

By hand: `async with a: async with b: ...`, one after the other, and a background writer that somebody has to drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from dependency_injector import providers
from prefect import flow, task
from prefect.client.orchestration import PrefectClient
from sqlalchemy import Engine

from containers.app import AppContainer
from containers.resources import open_async_orchestrator
from containers.services.journal import Journal
from prefect_lifespan import Provide, inject, lifespan

Write = Callable[[str], None]


async def open_writer(engine: Engine) -> AsyncIterator[Write]:
    """A writer in the background: taking an entry costs nothing, and closing waits until all are in the warehouse."""
    journal, queue = Journal(engine), asyncio.Queue[str | None]()

    async def drain() -> None:
        while (entry := await queue.get()) is not None:
            await asyncio.to_thread(journal.write, "visits", entry)

    worker = asyncio.create_task(drain())
    try:
        yield queue.put_nowait
    finally:
        queue.put_nowait(None)
        await worker


class VisitContainer(AppContainer):
    """The application with an asynchronous API client and a background writer."""

    api = providers.Resource(
        open_async_orchestrator, timeout_seconds=AppContainer.settings.provided.orchestrator.timeout_seconds
    )
    writer = providers.Resource(open_writer, engine=AppContainer.warehouse)


@task
@inject
async def visit(
    number: int,
    api: PrefectClient = Provide[VisitContainer.api],
    write: Write = Provide[VisitContainer.writer],
) -> None:
    """Asks the API something, and hands the answer to the writer."""
    greeting = await api.hello()
    write(f"visit {number}: {greeting.status_code}")


@flow(name="visits")
@lifespan(VisitContainer, eager=[VisitContainer.api, VisitContainer.writer])  # and what these need; nothing else
async def visits(number: int) -> int:
    """Visits the API many times at once."""
    await asyncio.gather(*(visit(index) for index in range(number)))
    return number


def demo() -> str:
    """Three runs with more and more visits."""
    with lifespan(AppContainer) as container:
        before = len(container.journal().entries("visits"))
    made = sum(asyncio.run(visits(number)) for number in (2, 5, 10))
    with lifespan(AppContainer) as container:
        return f"{made} visits, {len(container.journal().entries('visits')) - before} in the journal"


if __name__ == "__main__":
    print(demo())
