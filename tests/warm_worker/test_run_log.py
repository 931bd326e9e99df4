"""What is logged in a warm process reaches the API, by one thread that stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from prefect_lifespan.warm_worker.run_log import RunLog


@pytest.fixture
def log(prefect_server: str) -> Iterator[RunLog]:
    """It has what this process logs; Prefect's own has it again behind the test."""
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        log = RunLog()
        log.begin()
        yield log
    log.begin_anew()


@flow
def logs(*lines: str) -> str:
    for line in lines:
        get_run_logger().info(line)
    return str(flow_run.id)


def logged(run: str, client: SyncPrefectClient) -> list[str]:
    """What the API has of a run."""
    lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))  # pyright: ignore[reportArgumentType]
    return [line.message for line in lines]


def test_what_runs_log_is_with_the_api_when_it_was_flushed_and_no_run_leaves_anything_behind(log: RunLog) -> None:
    with get_client(sync_client=True) as client:
        first = logs("early")
        log.flush()
        assert "early" in logged(first, client)

        threads = threading.active_count()
        runs = [logs(f"line {number}") for number in range(5)]
        for number, run in enumerate(runs):
            log.flush()
            assert f"line {number}" in logged(run, client)
    assert threading.active_count() == threads
