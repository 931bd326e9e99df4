"""What the log of a run says about its resources, as the API gives it back, and what it never says."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from dependency_injector import containers, providers
from prefect import flow, get_client, task
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run, task_run

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan
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


class Keeping(logging.Handler):
    """What is logged while it is attached."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Keeping]:
    """The lines of flows and tasks about their resources, at every level."""
    keeping = Keeping()
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs.lifespan", "prefect.task_runs.lifespan")]
    for logger in loggers:
        logger.addHandler(keeping)
        logger.setLevel(logging.DEBUG)
    yield keeping
    for logger in loggers:
        logger.removeHandler(keeping)
        logger.setLevel(logging.NOTSET)


def test_lines_of_a_task_resource_stand_in_the_log_of_its_task_and_are_debug(witness: Witness, kept: Keeping) -> None:
    class LogApp(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)
        session = TaskResource(witness.blocking, "session")

    ids: list[str] = []
    task_ids: list[str] = []

    @task
    @inject
    def store(n: int, session: Handle = Provide[LogApp.session]) -> int:
        task_ids.append(str(task_run.get_id()))
        return session.use()

    @flow
    @lifespan(LogApp)
    def run() -> None:
        ids.append(str(flow_run.get_id()))
        store.map(range(3)).wait()

    run()
    sessions = [record for record in kept.records if "LogApp.session" in record.getMessage()]
    assert {(r.name, r.levelname) for r in sessions} == {("prefect.task_runs.lifespan", "DEBUG")}
    assert sorted(r.task_run_id for r in sessions) == sorted(task_ids * 2)
    of_the_run = [record for record in kept.records if "LogApp.db" in record.getMessage()]
    assert {(r.name, r.levelname) for r in of_the_run} == {("prefect.flow_runs.lifespan", "INFO")}
    # Prefect's own handlers send them to its API, with the ids.
    until(lambda: len(ours(lines_of(ids[0]))) == 8, "all lines are in the run's log")
    with_tasks = [line for line in lines_of(ids[0]) if "LogApp.session" in line.message]
    assert sorted(str(line.task_run_id) for line in with_tasks) == sorted(task_ids * 2)


def test_the_lines_can_be_turned_down_by_the_name_of_their_logger(witness: Witness, kept: Keeping) -> None:
    class LogApp(containers.DeclarativeContainer):
        db = providers.Resource(witness.blocking)

    @flow
    @lifespan(LogApp)
    def run() -> None: ...

    logging.getLogger("prefect.flow_runs.lifespan").setLevel(logging.WARNING)
    run()
    assert [record for record in kept.records if "LogApp" in record.getMessage()] == []


def test_the_environment_sets_their_levels_as_it_does_for_prefects_own(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import logging, prefect_lifespan, prefect.main\n"
        "for runs in ('flow', 'task'):\n"
        "    print(logging.getLogger(f'prefect.{runs}_runs.lifespan').getEffectiveLevel())"
    )
    monkeypatch.setenv("PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LIFESPAN_LEVEL", "error")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert done.stdout.split()[0] == str(logging.ERROR)


def test_a_retry_says_why_without_the_secret(kept: Keeping) -> None:
    attempts = iter([ConnectionError(f"no route to postgresql://app:{SECRET}@db")])

    def opening() -> str:
        for error in attempts:
            raise error
        return "open"

    class LogApp(containers.DeclarativeContainer):
        db = providers.Resource(opening)

    @flow
    @lifespan(LogApp, retries=1, retry_delay_seconds=0)
    def run() -> None: ...

    run()
    (line,) = [record.getMessage() for record in kept.records if record.levelname == "WARNING"]
    assert line.endswith("will be tried again: ConnectionError: no route to postgresql://app:***@db")


def test_a_process_resource_opens_and_closes_in_the_log_of_the_run_that_causes_it(
    witness: Witness, kept: Keeping
) -> None:
    class LogApp(containers.DeclarativeContainer):
        model = ProcessResource(witness.blocking, "model")

    ids: list[str] = []

    @task
    @inject
    def predict(model: Handle = Provide[LogApp.model]) -> int:
        return model.use()

    @flow
    @lifespan(LogApp)
    def run() -> None:
        ids.append(str(flow_run.get_id()))
        predict.submit().wait()

    with lifespan(LogApp):
        run()
        run()
    told = [record for record in kept.records if "LogApp.model" in record.getMessage()]
    assert [(record.flow_run_id, record.getMessage().split()[0]) for record in told] == [
        (ids[0], "Opened"),
        (ids[0], "Closed"),  # with the block, which is no run: in the log of the one that opened it
    ]


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


LOGGING_AS_RESOURCE = """
import logging.config, sys
from dependency_injector import containers, providers
from prefect import flow
from prefect_lifespan import lifespan

settings = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"own": {"class": "logging.StreamHandler"}},
    "root": {"level": "INFO", "handlers": ["own"]},
}

class App(containers.DeclarativeContainer):
    log = providers.Resource(logging.config.dictConfig, settings)
    after = providers.Resource(logging.getLogger, "prefect.flow_runs.lifespan")

@flow
@lifespan(App, max_workers=int(sys.argv[1]))
def run():
    pass

run()
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_logging_as_a_resource_is_warned_of_and_does_not_hold_up_a_blocking_run(workers: str) -> None:
    command = [sys.executable, "-c", LOGGING_AS_RESOURCE, workers]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert told.count("App.log is about to call logging.config.dictConfig") == 1
    opened = re.search(r"Opened App\.log in (\d+\.\d+) s", told)
    assert opened is not None, told
    assert float(opened[1]) < 4, "Prefect's handlers would be waited for 5 s, with logging's lock held"
