"""A script as people write them: container, classes, tasks and flows all stand in `__main__`.

`python standalone.py <kind of runner> <address of its cluster> <folder>`: runs its flows and leaves marks of who did
what, and what the flows returned.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan, override

PATIENCE_SECONDS = 90


def mark(marks: str, what: str) -> None:
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{os.getpid()} {what}\n".encode())
    os.close(file)


def wait_for(marks: str, what: str) -> None:
    path, deadline = Path(marks), time.monotonic() + PATIENCE_SECONDS
    while not (path.exists() and any(line.split(" ", 1)[1] == what for line in path.read_text().splitlines())):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


class Broken(Exception):
    """What the first attempt fails with."""


class Handle:
    """What resources give."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = os.getpid()
        self.is_open = True

    def use(self) -> int:
        assert self.is_open, f"{self.name} was used after it had been closed"
        assert self.pid == os.getpid(), f"{self.name} has come from another process"
        return self.pid


class Clock:
    """What is no resource, and stood in for."""

    name = "real"


class Stopped(Clock):
    def __init__(self, name: str) -> None:
        self.name = name


def opened(marks: str, name: str, *needs: object) -> Iterator[Handle]:
    mark(marks, f"open {name}")
    handle, outcome = Handle(name), "success"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        handle.is_open = False
        mark(marks, f"close {name} {outcome}")


async def aopened(marks: str, name: str) -> AsyncIterator[Handle]:
    mark(marks, f"open {name}")
    handle, outcome = Handle(name), "success"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        await asyncio.sleep(0)
        handle.is_open = False
        mark(marks, f"close {name} {outcome}")


def model() -> Iterator[Handle]:
    yield from opened(os.environ["TESTS_PROCESS_MARKS"], "model of a script")


NAME = "nobody"


def greet(greeting: str) -> str:
    return f"{greeting}, {NAME}"


class App(containers.DeclarativeContainer):
    marks = providers.Object("")
    greeting = providers.Callable(greet, "hello")
    clock = providers.Singleton(Clock)
    db = providers.Resource(opened, marks, "db")
    api = providers.Resource(aopened, marks, "api")
    session = TaskResource(opened, marks, "session", db)
    model = ProcessResource(model)


@task
@inject
def use(number: int, db: Handle = Provide[App.db], marks: str = Provide[App.marks]) -> tuple[int, int, bool]:
    mark(marks, f"use db {number}")
    return number, db.use(), isinstance(db, Handle)


@task
@inject
async def fetch(
    number: int, api: Handle = Provide[App.api], db: Handle = Provide[App.db]
) -> tuple[int, int, int, bool]:
    await asyncio.sleep(0)
    return number, api.use(), db.use(), isinstance(api, Handle)


@task
@inject
def read(clock: Clock = Provide[App.clock]) -> tuple[str, bool, bool]:
    return clock.name, isinstance(clock, Clock), isinstance(clock, Stopped)


@task
@inject
def receive(_: int, greeting: str = Provide[App.greeting]) -> str:
    return greeting


@task(retries=1)
@inject
def store(session: Handle = Provide[App.session], marks: str = Provide[App.marks]) -> bool:
    context = TaskRunContext.get()
    assert context is not None
    mark(marks, f"store, attempt {context.task_run.run_count}")
    if context.task_run.run_count == 1:
        raise Broken("the first attempt")
    return isinstance(session, Handle)


@task
@inject
def predict(model: Handle = Provide[App.model]) -> int:
    return model.use()


@task
def nest() -> tuple[int, int, int]:
    return os.getpid(), use(10)[1], use.submit(11).result()[1]


@task
@inject
def meet(
    theirs: str,
    clock: Clock = Provide[App.clock],
    db: Handle = Provide[App.db],
    marks: str = Provide[App.marks],
) -> tuple[str, bool]:
    """Meets a task of another run, while both have their resources open."""
    mark(marks, "here")
    wait_for(theirs, "here")
    db.use()
    return clock.name, isinstance(clock, Stopped)


@flow(retries=1)
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
def everything(marks: str) -> dict[str, Any]:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    mark(marks, f"attempt {context.flow_run.run_count}")
    seen: dict[str, Any] = {"driver": os.getpid(), "submitted": use.submit(0).result()}
    if context.flow_run.run_count == 1:
        raise Broken("the first attempt")
    seen["mapped"] = use.map(range(1, 4)).result()
    seen["asynchronous"] = [future.result() for future in fetch.map(range(2))]
    seen["read"] = [read.submit().result()]
    with override(App, clock=Stopped("between")):
        seen["read"].append(read.submit().result())
    seen["read"].append(read.submit().result())
    seen["stored"] = store.submit().result()
    seen["predicted"] = predict.submit().result()
    seen["nested"] = nest.submit().result()
    mark(marks, "body ends")
    return seen


@flow
@lifespan(App, eager=False, overrides=lambda marks: {"marks": marks})
def again(marks: str) -> dict[str, Any]:
    """A second run, which finds the classes of the first one in its workers."""
    return {
        "mapped": use.map(range(4)).result(),
        "read": read.submit().result(),
        "predicted": predict.submit().result(),
    }


@flow
@lifespan(App, eager=False)
def greeted() -> set[str]:
    """What its workers are told, of which one may be new."""
    return set(receive.map(range(4)).result())


@flow
@lifespan(App, eager=False, overrides=lambda marks, **_: {"marks": marks})
def meeting(marks: str, theirs: str) -> tuple[str, bool]:
    """One of two concurrent runs."""
    return meet.submit(theirs).result()


@flow
@lifespan(App, eager=False, overrides=lambda marks, **_: {"marks": marks})
async def ameeting(marks: str, theirs: str) -> tuple[str, bool]:
    future: Any = meet.submit(theirs)
    return await asyncio.to_thread(future.result)


def task_runner(kind: str, address: str) -> Any:
    if kind == "thread":
        return ThreadPoolTaskRunner(max_workers=2)
    if kind == "pool":
        return ProcessPoolTaskRunner(max_workers=2)
    if kind == "ray":
        from prefect_ray import RayTaskRunner

        return RayTaskRunner()
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=address)


def runs(kind: str, address: str, folder: str) -> dict[str, Any]:
    runner = task_runner(kind, address)
    seen: dict[str, Any] = {"everything": everything.with_options(task_runner=runner)(f"{folder}/everything")}
    mark(f"{folder}/everything", "returned")
    with override(App, clock=Stopped("again")):
        seen["again"] = again.with_options(task_runner=runner)(f"{folder}/again")
    mark(f"{folder}/again", "returned")
    seen["greeted"] = [list(greeted.with_options(task_runner=runner)())]
    App.greeting.set_args("good bye")
    globals()["NAME"] = "everybody"
    seen["greeted"].append(list(greeted.with_options(task_runner=runner)()))

    def meets(name: str, other: str) -> Any:
        with override(App, clock=Stopped(name)):
            met = meeting.with_options(task_runner=runner)(f"{folder}/{name}", f"{folder}/{other}")
        mark(f"{folder}/{name}", "returned")
        return met

    async def ameets(name: str, other: str) -> Any:
        with override(App, clock=Stopped(name)):
            met = await ameeting.with_options(task_runner=runner)(f"{folder}/{name}", f"{folder}/{other}")
        mark(f"{folder}/{name}", "returned")
        return met

    async def gathered() -> Any:
        return await asyncio.gather(ameets("east", "west"), ameets("west", "east"))

    with ThreadPoolExecutor(2) as threads:
        seen["threads"] = list(threads.map(meets, ("left", "right"), ("right", "left")))
    seen["gathered"] = asyncio.run(gathered())
    return seen


def main(kind: str, address: str, folder: str) -> None:
    if kind == "ray":
        import ray

        ray.init(address=address, namespace="prefect", log_to_driver=False)
    if kind == "dask threads":
        import distributed

        cluster: Any = distributed.LocalCluster
        with cluster(n_workers=2, threads_per_worker=2, dashboard_address="127.0.0.1:0", processes=False) as local:
            seen = runs(kind, local.scheduler_address, folder)
    else:
        seen = runs(kind, address, folder)
    Path(folder, "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    # Heartbeats hold up the end of each run for a second; no environment variable can say that there are none.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        main(*sys.argv[1:])
