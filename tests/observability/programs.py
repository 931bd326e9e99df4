"""Flows that are looked at; a module, as worker processes import it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.runtime import flow_run

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan, resource

SECRET = "hunter22-of-the-warehouse"
runs: list[str] = []  # ids of the flow runs of this process


def of_the_process() -> Iterator[str]:
    yield "model"


class Refusing:
    """An initialiser that fails the first time."""

    failed = threading.Event()

    def __call__(self) -> str:
        if not self.failed.is_set():
            self.failed.set()
            raise OSError(f"https://me:{SECRET}@api")
        return "api"


@resource(retries=1, retry_delay_seconds=0)
def refused_once() -> Iterator[str]:
    yield Refusing()()


def fails_to_close(url: str) -> Iterator[str]:
    yield url
    raise OSError(f"cannot say goodbye to {url}")


class App(containers.DeclarativeContainer):
    warehouse = providers.Resource(fails_to_close, f"postgresql://me:{SECRET}@db/app")
    api = providers.Resource(refused_once)
    unused = providers.Resource(lambda: "unused")
    model: Any = ProcessResource(of_the_process)
    session: Any = TaskResource("session on {}".format, warehouse)


@task
@inject
def store(number: int, session: str = Provide[App.session], model: str = Provide[App.model]) -> int:
    return number


@task
@inject
def fetch(number: int, api: str = Provide[App.api]) -> int:
    return number


@flow
@lifespan(App, report=True, on_close_error="warn")
def reported(fail: bool = False, warehouse: str = Provide[App.warehouse]) -> None:
    runs.append(str(flow_run.get_id()))
    store.map([1, 2, 3])
    fetch.submit(1)
    fetch.submit(2).result()
    if fail:
        raise ValueError("the work failed")
