from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


class Inner(containers.DeclarativeContainer):
    database: providers.Dependency = providers.Dependency()
    client = providers.Factory(dict, database)


class Outer(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")
    inner = providers.Container(Inner, database=db)


@task  # finding: inner-container-marker
@inject
def ask(client: dict = Provide[Inner.client]) -> None: ...


@task  # finding: unknown-name
@inject
def misspell(db: str = Provide["dv"]) -> None: ...


@flow
@lifespan(Outer)
def run() -> None:
    ask()
    misspell()
