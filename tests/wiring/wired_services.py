"""A user's existing services: functions that carry dependency-injector's own `@inject`, in a module that is wired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, Provider, inject

from prefect_lifespan import TaskResource

events: list[str] = []


def open_db(url: str) -> Iterator[str]:
    events.append(f"open {url}")
    yield f"db at {url}"
    events.append(f"close {url}")


async def open_api() -> AsyncIterator[str]:
    events.append("open api")
    yield "api"
    events.append("close api")


class Gateways(containers.DeclarativeContainer):
    url: providers.Dependency[str] = providers.Dependency(instance_of=str)
    mail = providers.Resource(open_db, url)


class Services(containers.DeclarativeContainer):
    config = providers.Configuration(default={"url": "main", "retries": "3"})
    db = providers.Resource(open_db, config.url)
    api = providers.Resource(open_api)
    repository = providers.Singleton(dict, db=db)
    gateways = providers.Container(Gateways, url="mail")


class Jobs(containers.DeclarativeContainer):
    session = TaskResource(open_db, "session")
    repository = providers.Factory(dict, session=session)


@inject
def save(repository: dict[str, str] = Provide[Jobs.repository]) -> str:
    return repository["session"]


@inject
def query(table: str, db: str = Provide[Services.db]) -> str:
    return f"{table} in {db}"


@inject
def everything(
    repository: dict[str, str] = Provide[Services.repository],
    db_of_it: str = Provide[Services.repository.provided["db"]],
    retries: int = Provide[Services.config.retries.as_int()],
    mail: str = Provide[Services.gateways.mail],
    make_db: providers.Provider[str] = Provider[Services.db],
    container: Any = Provide[Services],
) -> tuple[str, str, int, str, str, str]:
    return repository["db"], db_of_it, retries, mail, make_db(), container.config.url()


@inject
def closing(db: str = Closing[Provide[Services.db]]) -> str:
    return db


@inject
async def ask(api: str = Provide[Services.api], db: str = Provide[Services.db]) -> tuple[str, str]:
    return api, db
