"""A worker for background tasks, and who delays them: `python -m tests.processes.programs.background <which>`."""

from __future__ import annotations

import sys
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_worker import serve

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from tests.processes.programs.marks import Handle, blocking, mark, wait_for_order


class App(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    session = TaskResource(blocking, "session", db)
    unused = providers.Resource(blocking, "unused")


@task
@inject
def store(rows: int, session: Handle = Provide[App.session]) -> int:
    mark(f"stored {rows}, session {session.state}")
    if rows < 0:
        raise ValueError("less than nothing")
    return rows


@task
@inject
def waits(session: Handle = Provide[App.session]) -> None:
    mark("body")
    wait_for_order("go on")


@flow
@lifespan(App, eager=False)
def delays() -> None:
    mark(f"delayed {store.delay(3).task_run_id}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        tasks: list[Any] = [store, waits]
        serve(*tasks)
    elif sys.argv[1] == "waits":
        waits.delay()
    elif sys.argv[1] == "flow":
        delays()
    else:
        store.delay(int(sys.argv[1]))
