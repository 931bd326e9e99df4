"""What looks like a mistake, and is none."""

from collections.abc import Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def set_up_tracing() -> Iterator[None]:
    yield


class Base(containers.DeclarativeContainer):
    address: Any = providers.Dependency()


class Part(containers.DeclarativeContainer):
    address: Any = providers.Dependency()
    client = providers.Factory(dict, address)


class Well(Base):
    address = providers.Object("sqlite://")
    tenant: Any = providers.Dependency()  # which the flow gives
    tracing = providers.Resource(set_up_tracing)  # opened for what it does
    connection = providers.Resource(dict, address=address, tenant=tenant)
    part = providers.Container(Part, address=address)


@task
@inject
def ask(client: dict[str, str] = Provide[Well.part.container.client]) -> None: ...


@task
@inject
def ask_by_name(connection: dict[str, str] = Provide["connection"]) -> None: ...


@flow
@lifespan(Well, overrides={"tenant": "one"})
def run() -> None:
    ask()
    ask_by_name()
    within()


@flow
def within() -> None:
    ask()
