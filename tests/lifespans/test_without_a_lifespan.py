"""In a flow run that has no lifespan of a container, what opens for each call says so: one warning for each run."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")


class Other(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "other")


@task
@inject
def store(n: int, db: str = Provide[App.db]) -> str:
    return db


@task
@inject
def other(db: str = Provide[Other.db]) -> str:
    return db


@inject
def hook(flow: Any, flow_run: Any, state: Any, db: str = Provide[App.db]) -> None: ...


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "no lifespan of" in record.getMessage()
    ]


def test_a_forgotten_lifespan_is_one_warning_for_each_run_and_container(caplog: pytest.LogCaptureFixture):
    @flow
    def run() -> None:
        store.map([1, 2, 3]).wait()
        store(4)
        other()

    run()
    assert sorted(message.partition("has no lifespan of ")[2].partition(",")[0] for message in warnings(caplog)) == [
        "App",
        "Other",
    ]
    assert all("below @flow" in message for message in warnings(caplog))
    run()
    assert len(warnings(caplog)) == 4


def test_a_run_with_its_lifespan_and_its_hooks_are_not_warned_of(caplog: pytest.LogCaptureFixture):
    @flow(on_running=[hook], on_completion=[hook])
    @lifespan(App)
    def run() -> None:
        store(1)
        store.submit(2).wait()

    run()
    store.fn(3)
    assert warnings(caplog) == []


def test_a_task_that_a_thread_of_the_users_own_calls_is_told_what_it_misses(caplog: pytest.LogCaptureFixture):
    @flow
    @lifespan(App)
    def run() -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(store, 1).result()

    with pytest.warns(UserWarning, match="without a flow run id"):  # Prefect misses the run as well
        assert run() == "db"
    told = [record.getMessage() for record in caplog.records if "`carried(function)`" in record.getMessage()]
    assert len(told) == 1
    assert "store was called where no lifespan of App is in force" in told[0]
