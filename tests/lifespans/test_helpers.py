"""A function with markers that a flow names, and that nothing injects, is a warning at the start of each run."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers, wiring
from prefect import flow as typed_flow
from prefect import task as typed_task

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.lifespans.mistakes import findings_of

flow: Any = typed_flow
task: Any = typed_task


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")


def helper(n: int = 0, db: Any = Provide[App.db]) -> Any:
    return db


@inject
def well(db: Any = Provide[App.db]) -> Any:
    return db


@wiring.inject
def wired(db: Any = Provide[App.db]) -> Any:
    return db


@task
@inject
def works(db: Any = Provide[App.db]) -> Any:
    return helper(), well(), wired


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    return [message for message in told if "marker" in message]


def test_each_run_of_a_flow_of_any_kind_says_so(caplog: pytest.LogCaptureFixture):
    @flow
    @lifespan(App)
    def blocking() -> str:
        assert len(warnings(caplog)) == 1
        return "ran" if helper else helper()

    @flow
    @lifespan(App)
    async def coroutine() -> str:
        return "ran" if helper else helper()

    @flow
    @lifespan(App)
    def generator() -> Iterator[str]:
        yield "ran" if helper else helper()

    @flow
    @lifespan(App)
    async def asynchronous_generator() -> AsyncIterator[str]:
        yield "ran" if helper else helper()

    async def steps() -> list[str]:
        return [await coroutine(), *[each async for each in asynchronous_generator()]]

    assert [blocking(), *asyncio.run(steps()), *generator()] == ["ran"] * 4
    assert len(warnings(caplog)) == 4
    assert f"{helper.__module__}.helper ({__file__}:" in warnings(caplog)[0]
    assert "put @inject on it" in warnings(caplog)[0]


def test_what_is_injected_called_with_a_value_or_no_function_of_the_flows_is_not_told():
    @flow
    @lifespan(App)
    def main() -> Any:
        return helper(1, "mine"), well(), works

    @flow
    @lifespan(App)
    def names(db: Any = Provide[App.db]) -> Any:
        return helper(1), works

    assert [finding.path.partition(" ")[0] for finding in findings_of(main)] == [f"{wired.__module__}.wired"]
    found = {finding.path.partition(" ")[0].rpartition(".")[2]: finding for finding in findings_of(names)}
    assert found.keys() == {"helper", "wired"}
    assert {(finding.code, finding.severity) for finding in found.values()} == {("uninjected-helper", "warning")}
    assert found["wired"].cure == "import inject from prefect_lifespan"


def logged(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


decorated = logged(helper)


def other(n: int, db: Any) -> None: ...


def test_a_call_of_something_else_with_arguments_gives_the_helper_nothing():
    @flow
    @lifespan(App)
    def main() -> Any:
        other(1, "mine")
        return helper()

    assert [finding.code for finding in findings_of(main)] == ["uninjected-helper"]


def test_a_decorated_helper_is_told_once():
    @flow
    @lifespan(App)
    def main() -> Any:
        return decorated()

    (finding,) = findings_of(main)
    assert finding.path.startswith(f"{helper.__module__}.helper (")
