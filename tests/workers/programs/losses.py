"""Flows that lose what their tasks run in: `python -m tests.workers.programs.losses <flow> <runner> [address]`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from prefect_lifespan import Provide, inject, lifespan, resource
from prefect_lifespan.lifespans import grace
from prefect_lifespan.workers import channel
from tests.processes.programs.marks import Handle, mark, wait_for_order

grace.TERMINATION_GRACE_SECONDS = float(os.environ.get("GRACE", "2"))
channel.ANSWER_SECONDS = float(os.environ.get("ANSWER", "30"))


def opened(name: str) -> Iterator[Handle]:
    """A resource that marks where it opens, and where and with which outcome it closes."""
    mark(f"open {name} {os.getpid()}")
    handle, outcome = Handle(name), "none"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        handle.state = "closed"
        mark(f"close {name} {os.getpid()} {outcome}")


@resource(close_timeout_seconds=float(os.environ.get("CLOSE_TIMEOUT", "1")))
def hanging() -> Iterator[Handle]:
    """A resource that closes in a process when the test says so."""
    mark(f"open hanging {os.getpid()}")
    yield Handle("hanging")
    mark(f"closing hanging {os.getpid()}")
    wait_for_order(f"close hanging {os.getpid()}")
    mark(f"close hanging {os.getpid()}")


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened, "db")


class Hanging(containers.DeclarativeContainer):
    db = providers.Resource(opened, "db")
    hanging = providers.Resource(hanging)


@task(retries=2)  # which are for what a task raises, not for the loss of its process
@inject
def waits(n: int, db: Handle = Provide[App.db]) -> int:
    mark(f"task {n} {os.getpid()}")
    wait_for_order(f"go {n}")
    mark(f"task {n} found db {db.state}")
    return os.getpid()


@task
@inject
def hangs(n: int, hanging: Handle = Provide[Hanging.hanging]) -> int:
    mark(f"task {n} {os.getpid()}")
    wait_for_order(f"go {n}")
    return os.getpid()


@task(retries=2)
def plain(n: int) -> int:
    mark(f"task {n} {os.getpid()}")
    wait_for_order(f"go {n}")
    mark(f"task {n} ends")
    return os.getpid()


def body(task: Any) -> list[int]:
    mark(f"driver {os.getpid()}")
    futures = [task.submit(n) for n in range(2)]
    mark("submitted")
    return [future.result() for future in futures]


@flow
def without() -> None:
    mark(f"driver {os.getpid()}")
    for n in range(2):
        plain.submit(n)
    mark("submitted")
    threading.Event().wait(90)


@flow
@lifespan(App)
def waiting() -> None:
    """Submits, and does something else."""
    mark(f"driver {os.getpid()}")
    for n in range(2):
        waits.submit(n)
    mark("submitted")
    threading.Event().wait(90)


@flow
@lifespan(App)
async def waiting_async() -> None:
    mark(f"driver {os.getpid()}")
    for n in range(2):
        waits.submit(n)
    mark("submitted")
    await asyncio.Event().wait()


@flow
@lifespan(App)
def returning() -> None:
    """Submits, and leaves the waiting to the lifespan."""
    mark(f"driver {os.getpid()}")
    for n in range(2):
        waits.submit(n)
    mark("submitted")


@flow
async def without_async() -> None:
    mark(f"driver {os.getpid()}")
    for n in range(2):
        plain.submit(n)
    mark("submitted")
    await asyncio.Event().wait()


@flow
@lifespan(App)
def results() -> list[int]:
    return body(waits)


@flow
@lifespan(App)
def growing() -> list[int]:
    """Submits once more when the test says so."""
    mark(f"driver {os.getpid()}")
    futures = [waits.submit(n) for n in range(2)]
    wait_for_order("grow")
    futures.append(waits.submit(2))
    return [future.result() for future in futures]


@flow
def plain_results() -> list[int]:
    return body(plain)


@flow
@lifespan(Hanging, eager=[Hanging.db])
def closing() -> list[int]:
    return body(hangs)


@flow
@lifespan(App)
def stopped() -> list[int]:
    found = body(waits)
    mark("body ends")
    wait_for_order("end")
    return found


def runner(kind: str, address: str = "") -> Any:
    if kind == "thread":
        return ThreadPoolTaskRunner()
    if kind == "pool":
        return ProcessPoolTaskRunner(max_workers=2)
    if kind == "dask":
        from prefect_dask.task_runners import DaskTaskRunner

        from prefect_lifespan.workers import dask

        dask.ANSWER_SECONDS = channel.ANSWER_SECONDS
        if address:
            return DaskTaskRunner(address=address)
        cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
        return DaskTaskRunner(cluster_kwargs=cluster)
    from prefect_ray import RayTaskRunner

    init = {"include_dashboard": False} if address else {"num_cpus": 2, "include_dashboard": False}
    return RayTaskRunner(address=address or None, init_kwargs=init)


def main() -> None:
    from tests.workers.programs import losses  # the flows as workers import them, not those of `__main__`

    chosen: Any = getattr(losses, sys.argv[1]).with_options(task_runner=runner(*sys.argv[2:]))
    try:
        result = asyncio.run(chosen()) if chosen.isasync else chosen()
        mark(f"returned {result}")
    except BaseException as error:
        mark(f"raised {type(error).__name__}: {error}".splitlines()[0])
        raise


if __name__ == "__main__":
    main()
