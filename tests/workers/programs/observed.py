"""A flow whose worker processes open resources that observers of its lifespan hear of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Event, Provide, TaskResource, inject, lifespan

told: list[Event] = []


def fails_to_close() -> Iterator[str]:
    password = "hunter22"
    yield "db"
    raise OSError(f"postgresql://me:{password}@db/app")


class Observed(containers.DeclarativeContainer):
    db = providers.Resource(fails_to_close)
    session: Any = TaskResource("session on {}".format, db)


@task
@inject
def use(number: int, session: str = Provide[Observed.session]) -> str:
    return f"{session} {number}"


@flow
@lifespan(Observed, eager=False, observers=[told.append], on_close_error="warn")
def observed() -> list[str]:
    return use.map([1, 2]).result()
