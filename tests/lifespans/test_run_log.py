"""What the log of a run says about its resources, as the API gives it back, and what it never says."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from dependency_injector import containers, providers
from prefect import flow, get_client, task
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from prefect_lifespan.graph.reader import qualified_name
from tests.lifespans.witness import Handle, Witness, state_of, until

SECRET = "hunter2-the-secret"


def lines_of(run_id: str) -> list[Any]:
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        return list(client.read_logs(log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run_id)]))))


def ours(lines: list[Any]) -> list[tuple[int, str]]:
    told = [(line.level, line.message) for line in lines if re.match(r"Opened|Opening|Closed|Closing", line.message)]
    return [(level, re.sub(r"in \d+\.\d{3} s", "in some seconds", message)) for level, message in told]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_each_opening_and_closing_is_a_line_in_the_log_of_the_run(witness: Witness, kind: str) -> None:
    class LogApp(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        queue = providers.Resource(witness.blocking, db.provided.name)

    ids: list[str] = []

    @flow
    @lifespan(LogApp)
    def run() -> None:
        ids.append(str(flow_run.get_id()))

    @flow
    @lifespan(LogApp)
    async def run_async() -> None:
        ids.append(str(flow_run.get_id()))

    run() if kind == "sync" else asyncio.run(run_async())
    until(lambda: len(ours(lines_of(ids[0]))) == 4, "the four lines are in the run's log")

    path = qualified_name(LogApp)
    assert sorted(ours(lines_of(ids[0]))) == sorted(
        (logging.INFO, f"{what} {path}.{name} in some seconds")
        for what in ("Opened", "Closed")
        for name in ("db", "queue")
    )


def test_failures_are_errors_and_name_no_secret(witness: Witness) -> None:
    class Secret:
        def __repr__(self) -> str:
            return SECRET

    def not_opening(password: str) -> None:
        raise ConnectionError(f"refused with {password}")

    def not_closing(password: str, token: Secret) -> Iterator[str]:
        yield password
        raise OSError(f"cannot log out {password}")

    class LogApp(containers.DeclarativeContainer):
        first = providers.Resource(not_closing, SECRET, providers.Object(Secret()))
        second = providers.Resource(not_opening, SECRET)

    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    keeping = Keeping()
    loggers = [logging.getLogger("prefect.flow_runs"), logging.getLogger("prefect_lifespan")]
    for logger in loggers:
        logger.addHandler(keeping)
    try:

        @flow
        @lifespan(LogApp, retries=1, retry_delay_seconds=0)
        def run() -> None: ...

        state = state_of(run)
    finally:
        for logger in loggers:
            logger.removeHandler(keeping)

    assert state.is_failed()
    told = [record for record in records if re.match(r"Opened|Opening|Closed|Closing", record.getMessage())]
    assert [record.levelname for record in told] == ["INFO", "WARNING", "ERROR", "INFO"]
    assert all(SECRET not in record.getMessage() and record.exc_info is None for record in told)
    assert "LogApp.second failed" in told[2].getMessage()
    assert "ConnectionError" in told[2].getMessage()
    assert "after a failure" in told[3].getMessage()


def test_lines_of_a_task_resource_stand_in_the_log_of_the_run(witness: Witness) -> None:
    class LogApp(containers.DeclarativeContainer):
        session = TaskResource(witness.blocking, "session")

    ids: list[str] = []

    @task(task_run_name="storing")
    @inject
    def store(session: Handle = Provide[LogApp.session]) -> int:
        return session.use()

    @flow
    @lifespan(LogApp)
    def run() -> None:
        ids.append(str(flow_run.get_id()))
        store.submit().wait()

    run()
    until(lambda: len(ours(lines_of(ids[0]))) == 2, "both lines are in the run's log")
    assert all("LogApp.session" in message for _, message in ours(lines_of(ids[0])))


def test_a_joined_subflow_says_nothing_and_one_that_stands_alone_says_it_in_its_own_log(witness: Witness) -> None:
    class LogApp(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    ids: list[str] = []

    @flow
    @lifespan(LogApp)
    def joins() -> None:
        ids.append(str(flow_run.get_id()))

    @flow
    @lifespan(LogApp, share=False)
    def alone() -> None:
        ids.append(str(flow_run.get_id()))

    @flow
    @lifespan(LogApp)
    def parent() -> None:
        ids.append(str(flow_run.get_id()))
        joins()
        alone()

    parent()
    until(lambda: [len(ours(lines_of(each))) for each in ids] == [2, 0, 2], "each log has its own lines")
