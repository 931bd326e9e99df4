"""Background tasks that share one lifespan: `python -m tests.processes.programs.serving <which>`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from dependency_injector import containers, providers
from prefect import task

from prefect_lifespan import Provide, TaskResource, inject, serve_tasks
from tests.processes.programs.marks import Handle, asynchronous, await_order, blocking, mark


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


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve_tasks(store, waits, container=App)
    elif sys.argv[1] == "slowly":
        serve_tasks(store, container=Slow)
    elif sys.argv[1] == "store":
        store.delay(3)
    else:
        waits.delay(1)
