"""What a blocking resource of a call sets in context variables is set for the function, and gone when that has returned."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Closing, Provide, TaskResource, inject, lifespan

VARIABLES: dict[str, ContextVar[str]] = {name: ContextVar(name, default="unset") for name in ("run", "task", "async")}


@contextmanager
def bound(name: str) -> Iterator[str]:
    token = VARIABLES[name].set("bound")
    try:
        yield name
    finally:
        VARIABLES[name].reset(token)


class App(containers.DeclarativeContainer):
    run = providers.Resource(bound, "run")
    task = TaskResource(bound, "task")


def seen() -> dict[str, str]:
    return {name: variable.get() for name, variable in VARIABLES.items() if variable.get() != "unset"}


@inject
def of_task(_: str = Provide[App.task]) -> dict[str, str]:
    return seen()


@inject
async def aof_task(_: str = Provide[App.task]) -> dict[str, str]:
    await asyncio.sleep(0)
    return seen()


@inject
def closing(_: str = Closing[Provide[App.run]]) -> dict[str, str]:
    return seen()


@inject
def steps(_: str = Provide[App.task]) -> Iterator[dict[str, str]]:
    yield seen()


@pytest.mark.parametrize("max_workers", [1])
@pytest.mark.parametrize("eager", [True, False])
def test_a_blocking_task_resource_sets_them_for_its_function(eager: bool, max_workers: int) -> None:
    """It was opened in a context of its own, which its function did not see."""
    with lifespan(App, eager=eager, max_workers=max_workers):
        run = {"run": "bound"} if eager else {}
        assert of_task() == of_task() == asyncio.run(aof_task()) == {**run, "task": "bound"}
        assert seen() == run
        assert closing() == {"run": "bound"}
    assert seen() == {}


@pytest.mark.parametrize("function", [of_task, aof_task])
def test_the_same_on_an_event_loop(function: Any) -> None:
    async def main() -> None:
        async with lifespan(App):
            for _ in range(2):
                result = function()
                assert (await result if asyncio.iscoroutine(result) else result) == {"run": "bound", "task": "bound"}
                assert seen() == {"run": "bound"}
        assert seen() == {}

    asyncio.run(main())


def test_the_same_outside_a_lifespan() -> None:
    assert of_task() == {"task": "bound"}
    assert asyncio.run(aof_task()) == {"task": "bound"}
    assert seen() == {}


def test_the_caller_of_a_generator_sees_nothing_of_it_between_its_steps() -> None:
    with lifespan(App, eager=False):
        for _ in steps():
            assert seen() == {}
