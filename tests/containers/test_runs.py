from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State, StateType, TaskRun

from containers.services.records import Outcome, Window
from containers.services.runs import LONGEST_MESSAGE, RunSource
from tests.containers.fakes import NOON, FakeClient, flow_run


def source(client: FakeClient, page_size: int = 2) -> RunSource:
    return RunSource(cast("SyncPrefectClient", client), page_size)


WINDOW = Window(NOON, NOON + timedelta(hours=1))


@pytest.mark.parametrize(("runs", "pages"), [(0, []), (1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2])])
def test_every_run_comes_once_a_page_at_a_time(runs: int, pages: list[int]) -> None:
    client = FakeClient([flow_run() for _ in range(runs)])

    batches = list(source(client).flow_runs(WINDOW))

    assert [len(batch) for batch in batches] == pages
    assert {record.id for batch in batches for record in batch} == {str(run.id) for run in client.runs}


def test_the_api_is_asked_for_the_finished_runs_of_the_window_both_ends_included() -> None:
    client = FakeClient([])

    list(source(client).flow_runs(WINDOW))

    (asked,) = client.filters
    assert (asked.end_time.after_, asked.end_time.before_) == (WINDOW.since, WINDOW.until)
    assert {state.value for state in asked.state.type.any_} == {outcome.value for outcome in Outcome}


def test_a_run_is_told_with_its_flows_name_its_time_running_and_its_attempts() -> None:
    ((record,),) = source(FakeClient([flow_run()])).flow_runs(WINDOW)

    assert (record.flow_name, record.outcome, record.duration_seconds, record.attempts) == ("etl", "COMPLETED", 4.5, 2)
    assert (record.started_at, record.ended_at) == (NOON, NOON + timedelta(seconds=9))


def test_the_names_of_flows_are_asked_for_once() -> None:
    client = FakeClient([flow_run() for _ in range(6)])

    list(source(client).flow_runs(WINDOW))

    assert client.flow_reads == 1


def test_a_run_of_a_flow_that_was_deleted_is_called_by_the_flows_id() -> None:
    gone = uuid4()

    ((record,),) = source(FakeClient([flow_run(flow_id=gone)])).flow_runs(WINDOW)

    assert record.flow_name == str(gone)


def test_a_run_that_never_started_took_no_time() -> None:
    cancelled = flow_run(start_time=None, state=State(type=StateType.CANCELLED), total_run_time=timedelta(0))

    ((record,),) = source(FakeClient([cancelled])).flow_runs(WINDOW)

    assert (record.started_at, record.duration_seconds) == (record.ended_at, 0)


def test_a_failures_message_comes_without_passwords_and_not_endlessly() -> None:
    message = "could not connect to postgresql://app:hunter2@db/prod " + "x" * 2000
    failed = flow_run(state=State(type=StateType.FAILED, message=message))

    ((record,),) = source(FakeClient([failed])).flow_runs(WINDOW)

    assert record.message is not None
    assert "postgresql://app:***@db/prod" in record.message
    assert "hunter2" not in record.message
    assert len(record.message) == LONGEST_MESSAGE


def test_the_address_for_the_report_comes_without_a_password() -> None:
    assert source(FakeClient([])).address == "the Prefect API at http://user:***@127.0.0.1:4200/api"


def test_task_runs_of_a_batch_are_read_page_by_page_and_named_by_their_task() -> None:
    parent = uuid4()
    tasks = [
        TaskRun.model_validate(
            {
                "name": "load-to-db-3f2",
                "flow_run_id": parent,
                "task_key": "load",
                "dynamic_key": str(index),
                "state": State(type=StateType.COMPLETED),
                "start_time": NOON,
                "end_time": NOON,
            }
        )
        for index in range(5)
    ]
    client = FakeClient([], tasks)

    records = list(source(client).task_runs([str(parent)]))

    assert {UUID(record.id) for record in records} == {task.id for task in tasks}
    assert {record.task_name for record in records} == {"load-to-db"}
    assert list(source(client).task_runs([])) == []
