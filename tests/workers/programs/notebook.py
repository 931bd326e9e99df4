"""A notebook, cell by cell: what people define in one, and run in others. Executed by test_notebooks.py, not imported."""

# %% imports
import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from prefect_lifespan import Provide, TaskResource, inject, lifespan, override


# %% classes
class Handle:
    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = os.getpid()


class Clock:
    def __init__(self, says: str) -> None:
        self.says = says


def mark(marks: str, what: str) -> None:
    with open(marks, "a") as file:  # noqa: PTH123
        file.write(f"{os.getpid()} {what}\n")


def opened(marks: str, name: str, *needs: object) -> Iterator[Handle]:
    mark(marks, f"open {name}")
    outcome = "success"
    try:
        yield Handle(name)
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        mark(marks, f"close {name} {outcome}")


async def aopened(marks: str, name: str) -> AsyncIterator[Handle]:
    mark(marks, f"open {name}")
    yield Handle(name)
    mark(marks, f"close {name} success")


# %% container
class App(containers.DeclarativeContainer):
    marks = providers.Object("")
    clock = providers.Object(Clock("declared"))
    db = providers.Resource(opened, marks, "db")
    api = providers.Resource(aopened, marks, "api")
    session = TaskResource(opened, marks, "session", db)


# %% tasks
@task
@inject
def use(
    db: Handle = Provide[App.db], session: Handle = Provide[App.session], clock: Clock = Provide[App.clock]
) -> tuple[bool, str]:
    """Whether everything is of the notebook's classes and of this process; what the clock says."""
    assert db.pid == session.pid == os.getpid()
    return isinstance(db, Handle) and isinstance(session, Handle) and isinstance(clock, Clock), clock.says


@task
@inject
async def fetch(api: Handle = Provide[App.api]) -> tuple[bool, str]:
    await asyncio.sleep(0)
    assert api.pid == os.getpid()
    return isinstance(api, Handle), api.name


@task
def nest() -> tuple[bool, str]:
    return use.submit().result()


# %% flows
@flow
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
def run(marks: str) -> list[Any]:
    seen = [*(future.result() for future in [use.submit(), use.submit()]), fetch.submit().result()]
    with override(App, clock=Clock("stopped")):
        seen.append(nest.submit().result())
    mark(marks, "body ends")
    return seen


@flow
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
async def arun(marks: str) -> list[Any]:
    seen = [await fetch(), await asyncio.to_thread(fetch.submit().result), await asyncio.to_thread(use.submit().result)]
    mark(marks, "body ends")
    return seen


@flow
def plain() -> list[Any]:
    return [use.submit().result()]


# %% runners
def runner(kind: str, address: str) -> Any:
    if kind == "thread":
        return ThreadPoolTaskRunner(max_workers=2)
    if kind == "pool":
        return ProcessPoolTaskRunner(max_workers=2)
    if kind == "ray":
        import ray
        from prefect_ray import RayTaskRunner

        ray.init(address=address, namespace="prefect", log_to_driver=False, ignore_reinit_error=True)
        return RayTaskRunner()
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=address)
