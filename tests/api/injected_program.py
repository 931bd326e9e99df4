"""Injected parameters of tasks and flows as type checkers see them, in each form; `test_checkers.py` checks and runs it."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, assert_type

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, current_container, inject, injected, lifespan, provided
from prefect_lifespan.testing import AsyncLifespanContainer, LifespanContainer, OverrideProviders


class Engine:
    name = "engine"


def open_engine(url: str) -> Iterator[Engine]:
    yield Engine()


async def open_client() -> AsyncIterator[str]:
    yield "client"


class App(containers.DeclarativeContainer):
    engine = providers.Resource(open_engine, url="url")
    client = providers.Resource(open_client)
    greeting = providers.Singleton(str, "hello")


EngineDep = Annotated[Engine, Provide[App.engine]]


@task
@inject
def by_marker(n: int, engine: Engine = Provide[App.engine]) -> str:
    return engine.name * n


@task
@inject
def by_provided(n: int, engine: Engine = provided(App.engine)) -> str:
    return engine.name * n


@task
@inject
def by_annotation(n: int, engine: EngineDep = injected) -> str:
    return engine.name * n


@task
@inject
async def asynchronous(n: int, client: str = provided(App.client)) -> str:
    return client * n


@flow
@lifespan(App)
def run(n: int, engine: EngineDep = injected, greeting: str = provided(App.greeting)) -> str:
    assert_type(by_marker(n), str)
    assert_type(by_provided(1), str)
    assert_type(by_annotation(1), str)
    for each in (by_marker, by_provided, by_annotation):
        each.submit(1).wait()
        each.map([1, 2]).wait()
        assert each.fn(1) == "engine"
    return engine.name + greeting


@inject
async def plain(client: str = provided(App.client)) -> str:
    return client


async def in_a_block() -> str:
    async with lifespan(App) as container:
        assert_type(container, App)
        return await plain()


def test_of_a_user(lifespan_container: LifespanContainer, override_providers: OverrideProviders) -> None:
    override_providers(App, engine=Engine())
    assert_type(lifespan_container(App, eager=False).engine(), Engine)


async def async_test_of_a_user(async_lifespan_container: AsyncLifespanContainer) -> None:
    container = await async_lifespan_container(App)
    assert_type(container, App)


with lifespan(App) as opened:
    assert_type(opened, App)
    assert_type(opened.engine(), Engine)
    assert_type(current_container(App), App)
