"""A blocking flow that names what needs an event loop says so when it starts, and runs: it may never call it."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow as typed_flow
from prefect import task as typed_task

from prefect_lifespan import Provide, inject, lifespan, override

flow: Any = typed_flow
task: Any = typed_task


async def open_api() -> str:
    return "api"


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")
    api = providers.Resource(open_api)
    service = providers.Factory(dict, api=api)


@task
@inject
def send(service: Any = Provide[App.service]) -> Any:
    return service


@inject
def helper(api: Any = Provide[App.api]) -> Any:
    return api


@task
@inject
async def asend(api: Any = Provide[App.api]) -> Any:
    return api


@task
@inject
def store(db: Any = Provide[App.db]) -> Any:
    return db


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    return [message for message in told if "asynchronous" in message]


def test_tasks_and_helpers_that_need_one_are_a_warning_each_before_the_body_runs(caplog: pytest.LogCaptureFixture):
    seen: list[list[str]] = []

    @flow
    @lifespan(App)
    def main(calls: bool) -> Any:
        seen.append(warnings(caplog))
        return send(return_state=True), helper() if calls else store(), asend

    assert main(False)[1] == "db"
    of_the_task, of_the_helper = sorted(seen[0], reverse=True)
    assert "send" in of_the_task
    assert (
        "service needs App.api, which is asynchronous and opens on an event loop, and the flow is blocking"
        in of_the_task
    )
    assert "helper" in of_the_helper
    assert all(f"({__file__}:" in each and "make the flow `async def`" in each for each in seen[0])
    assert main(True, return_state=True).is_failed()


def test_generators_say_so_too(caplog: pytest.LogCaptureFixture):
    @flow
    @lifespan(App)
    def main() -> Iterator[Any]:
        yield store() if store else send()

    assert list(main()) == ["db"]
    assert len(warnings(caplog)) == 1


def test_nothing_is_said_where_it_is_open_overridden_or_not_needed(caplog: pytest.LogCaptureFixture):
    @flow
    @lifespan(App)
    def main() -> Any:
        return store(), send() if False else None, helper()

    @flow
    @lifespan(App)
    def without() -> Any:
        return store()

    @flow
    @lifespan(App)
    async def around() -> Any:
        return main()

    assert asyncio.run(around()) == ("db", None, "api")
    with override(App, api="fake"):
        assert main() == ("db", None, "fake")
    assert without() == "db"
    assert warnings(caplog) == []
