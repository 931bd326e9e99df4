"""A flow on any task runner whose resource talks to Prefect's API as it closes, in a worker process as well."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.variables import Variable

from prefect_lifespan import Provide, inject, lifespan


def open_note() -> Iterator[str]:
    name = f"closer_{os.getpid()}_{os.urandom(4).hex()}"
    Variable.set(name, "open")
    yield name
    Variable.set(name, "closed", overwrite=True)


class App(containers.DeclarativeContainer):
    note = providers.Resource(open_note)


@task
@inject
def use(note: str = Provide[App.note]) -> tuple[str, int]:
    assert Variable.get(note) == "open"
    return note, os.getpid()


@flow(log_prints=False)
@lifespan(App, eager=False)
def noting() -> list[tuple[str, int]]:
    return [use.submit().result()]
