"""Background tasks that share one lifespan: `python -m tests.processes.programs.serving <which>`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from dependency_injector import containers, providers
from prefect import task

from prefect_lifespan import Provide, TaskResource, inject, serve_tasks
from tests.processes.programs.marks import Handle, asynchronous, await_order, blocking, mark, wait_for_order


async def opens_on_order(*needs: object) -> AsyncIterator[None]:
    mark("opening last")
    await await_order("open last")
    yield


class App(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    feed = providers.Resource(asynchronous, "feed", db)
    session = TaskResource(blocking, "session", db)


class Slow(App):
    last = providers.Resource(opens_on_order, App.db)


@task
@inject
def store(rows: int, db: Handle = Provide[App.db], session: Handle = Provide[App.session]) -> None:
    mark(f"stored {rows}, db {db.state}, session {session.state}")


@task
@inject
async def waits(rows: int, feed: Handle = Provide[App.feed]) -> None:
    mark(f"waits {rows}, feed {feed.state}")
    await await_order("go on")
    mark(f"goes on, feed {feed.state}")


@task
@inject
def blocks(which: int, db: Handle = Provide[App.db]) -> None:
    mark(f"blocks {which}")
    wait_for_order(f"unblock {which}")
    mark(f"unblocked {which}, db {db.state}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve_tasks(store, waits, container=App)
    elif sys.argv[1] == "stop":
        serve_tasks(blocks, waits, container=App, limit=int(sys.argv[2]), drain_seconds=float(sys.argv[3]))
    elif sys.argv[1] == "slowly":
        serve_tasks(store, container=Slow)
    elif sys.argv[1] == "store":
        store.delay(3)
    elif sys.argv[1] == "blocks":
        for which in sys.argv[2:]:
            blocks.delay(int(which))
    else:
        waits.delay(1)
