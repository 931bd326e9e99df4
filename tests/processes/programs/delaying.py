"""Delays tasks from runs with lifespans to a worker: `python -m tests.processes.programs.delaying <where> <what>`.

In a `script` the container stands in `__main__` of both processes, in a `module` both import it.
"""

from __future__ import annotations

import sys
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from prefect.task_worker import serve

from prefect_lifespan import Provide, TaskResource, inject, lifespan, override
from tests.processes.programs.marks import Handle, blocking, mark, wait_for_order


class App(containers.DeclarativeContainer):
    greeting = providers.Object("what is declared")
    db = providers.Resource(blocking, providers.Callable("db of {}".format, greeting))
    session = TaskResource(blocking, providers.Callable("session of {}".format, greeting), db)


@task
@inject
def greets(name: str, greeting: str = Provide[App.greeting], session: Handle = Provide[App.session]) -> None:
    mark(f"{name} finds {greeting}, session {session.state}")
    if name == "fails":
        raise ValueError(name)


@task
@inject
def waits(name: str, db: Handle = Provide[App.db]) -> None:
    mark(f"{name} begins")
    wait_for_order(f"go {name}")
    mark(f"{name} finds {db.name} {db.state}")


@flow
@lifespan(App, overrides=lambda greeting: {"greeting": greeting}, eager=False)
def says(greeting: str) -> None:
    """Delays under what its lifespan says, and under what is said in it."""
    greets.delay("one")
    with override(App, greeting="an override in it"):
        greets.delay("another")


@flow
@lifespan(App, eager=False)
def fails() -> None:
    greets.delay("fails")


@flow
def without() -> None:
    greets.delay("without")


@flow
@lifespan(App, eager=False)
def twice() -> None:
    """Delays two tasks, and stays open until it is told."""
    waits.delay("first")
    waits.delay("second")
    wait_for_order("end")


def main(here: Any, what: str) -> None:
    if what == "serve":
        serve(here.greets, here.waits)
    elif what == "ends":
        here.says("its lifespan")
        with override(here.App, greeting="an override around it"):
            here.fails()
        with override(here.App, greeting="an override alone"):
            here.without()
    elif what == "twice on a pool":
        here.twice.with_options(task_runner=ProcessPoolTaskRunner())()
    else:
        here.twice()
    mark("returned")


if __name__ == "__main__":
    from tests.processes.programs import delaying

    main(sys.modules["__main__"] if sys.argv[1] == "script" else delaying, sys.argv[2])
