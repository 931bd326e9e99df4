"""A closer that talks to Prefect's API, wherever its resource was opened and whenever it closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.variables import Variable

from prefect_lifespan import ProcessResource, Provide, inject, lifespan


def note(name: str) -> Iterator[str]:
    Variable.set(name, "open", overwrite=True)
    yield name
    Variable.set(name, "closed", overwrite=True)


async def note_on_a_loop(name: str) -> AsyncIterator[str]:
    await Variable.aset(name, "open", overwrite=True)
    yield name
    await Variable.aset(name, "closed", overwrite=True)


@pytest.fixture
def name() -> str:
    return f"closer_{uuid4().hex}"


def declare(resource: Any) -> Any:
    class App(containers.DeclarativeContainer):
        it = resource

    return App


@pytest.mark.parametrize("opened_by", ["a flow", "a task", "a submitted task"])
@pytest.mark.parametrize("kind", [providers.Resource, ProcessResource])
@pytest.mark.parametrize("workers", [1, 2])
def test_after_the_flow_that_opened_its_resource_has_ended(name: str, kind: Any, opened_by: str, workers: int) -> None:
    app = declare(kind(note, name))

    @inject
    def use(it: str = Provide[app.it]) -> str:
        return it

    @flow
    @lifespan(app, eager=False)
    def run() -> str:
        if opened_by == "a flow":
            return use()
        return task(use)() if opened_by == "a task" else task(use).submit().result()

    with lifespan(app, eager=False, max_workers=workers):
        assert run() == name
        assert Variable.get(name) == "open"
    assert Variable.get(name) == "closed"


def test_of_an_asynchronous_resource_that_a_flow_opened(name: str) -> None:
    app = declare(providers.Resource(note_on_a_loop, name))

    @flow
    @lifespan(app, eager=False)
    async def run(it: str = Provide[app.it]) -> str:
        return it

    async def main() -> tuple[Any, Any]:
        async with lifespan(app, eager=False):
            assert await run() == name
            while_open = await Variable.aget(name)
        return while_open, await Variable.aget(name)

    assert asyncio.run(main()) == ("open", "closed")


def test_it_is_in_the_run_that_closes_it_and_in_no_task_that_opened_it() -> None:
    seen: list[tuple[Any, Any]] = []

    def initialiser() -> Iterator[None]:
        yield
        seen.append((FlowRunContext.get(), TaskRunContext.get()))

    app = declare(providers.Resource(initialiser))

    @task
    @inject
    def use(it: None = Provide[app.it]) -> None: ...

    @flow
    @lifespan(app, eager=False)
    def run() -> None:
        use()

    run()
    ((of_flow, of_task),) = seen
    assert of_flow is not None
    assert of_flow.flow is not None
    assert (of_flow.flow.name, of_task) == ("run", None)
