"""How lifespans behave on every task runner: the same on all, except that worker processes have resources of their own.

One run goes through all that a run can do, one fails, and two run side by side; each test reads one behaviour from what
they have left behind. What runs on threads is what the others are measured by.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import pytest

from prefect_lifespan import AsyncResourceError, LifespanError
from tests.workers.programs import journey as program
from tests.workers.records import KINDS, Record, Runners, marks_at


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def journey(kind: str, runners: Runners, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run that goes well."""
    path = tmp_path_factory.mktemp("journey") / "marks"
    state: Any = program.journey.with_options(task_runner=runners.of(kind))(str(path), return_state=True)
    program.mark(str(path), "returned")
    return Record(kind, path, state, state.result())


@pytest.fixture(scope="session")
def failing(kind: str, runners: Runners, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A run whose first attempt cannot close a resource, and whose second one fails by itself."""
    path = tmp_path_factory.mktemp("failing") / "marks"
    state: Any = program.failing.with_options(task_runner=runners.of(kind))(str(path), return_state=True)
    program.mark(str(path), "returned")
    return Record(kind, path, state, error=state.result(raise_on_failure=False))


@pytest.fixture(scope="session")
def meeting(kind: str, runners: Runners, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], list[Record]]:
    """Two asynchronous runs of one flow, side by side."""
    left, right = (tmp_path_factory.mktemp("meeting") / "marks" for _ in range(2))
    run = program.meeting.with_options(task_runner=runners.of(kind))
    met = asyncio.run(program.meetings(run, str(left), str(right)))
    return met, [Record(kind, path, None) for path in (left, right)]


def test_tasks_submitted_and_mapped_use_the_resources_of_the_run(journey: Record) -> None:
    assert journey.seen["submitted"][0] == 0
    assert [number for number, _ in journey.seen["mapped"]] == [1, 2, 3]


def test_tasks_run_where_their_runner_runs_them(journey: Record) -> None:
    elsewhere = {pid for _, pid in [journey.seen["submitted"], *journey.seen["mapped"]]} - {os.getpid()}
    assert bool(elsewhere) is journey.is_elsewhere


def test_every_process_opens_a_resource_once_and_closes_it_once(journey: Record) -> None:
    opened, closed = Counter(journey.pids("open db")), Counter(journey.pids("close db success"))
    used = {mark.pid for mark in journey.starting("use db")}
    assert set(opened) == used
    assert opened == closed
    assert max(opened.values()) == 1


def test_the_driver_opens_nothing_that_only_its_workers_need(journey: Record) -> None:
    assert (os.getpid() in journey.pids("open db")) is not journey.is_elsewhere


def test_nothing_opens_that_no_call_needs(journey: Record) -> None:
    assert not journey.pids("open unused")
    needing = {mark.pid for mark in journey.starting("hook")}
    assert set(journey.pids("open other")) == needing


def test_everything_closes_before_the_flow_function_returns(journey: Record) -> None:
    assert journey.marks[-1].what == "returned"
    opened = Counter((mark.pid, mark.what.split()[1]) for mark in journey.starting("open"))
    closed = Counter((mark.pid, mark.what.split()[1]) for mark in journey.starting("close"))
    assert opened == closed


def test_futures_that_nobody_awaits_are_done_before_anything_they_use_closes(journey: Record) -> None:
    lingered = journey.starting("linger db")
    assert sorted(mark.what[-1] for mark in lingered) == ["0", "1", "2"]
    for pid in {mark.pid for mark in lingered}:
        last = max(index for index, mark in enumerate(journey.marks) if mark in lingered and mark.pid == pid)
        closed = [i for i, mark in enumerate(journey.marks) if mark.pid == pid and mark.what == "close db success"]
        assert closed
        assert closed[-1] > last > journey.index("body ends")


def test_an_async_task_has_its_own_async_resource_and_the_processes_blocking_one(journey: Record) -> None:
    assert [number for number, *_ in journey.seen["asynchronous"]] == [0, 1]
    for _, of_api, of_db in journey.seen["asynchronous"]:
        assert of_api == of_db
    assert len(journey.pids("open api")) == len(journey.pids("close api")) == 2


def test_a_sync_task_cannot_open_an_async_resource(journey: Record) -> None:
    error = journey.seen["reached for"]
    assert isinstance(error, AsyncResourceError)
    assert error.resources == ("App.api",)


def test_an_override_between_two_submissions_reaches_the_tasks_submitted_under_it(journey: Record) -> None:
    assert journey.seen["told"] == ["original", "between", "original"]


def test_an_override_that_cannot_be_pickled_is_refused_at_submission_by_name_and_goes_to_threads_as_it_is(
    journey: Record,
) -> None:
    seen = journey.seen["lock"]
    if journey.kind == "thread":
        assert seen is True
    else:
        assert isinstance(seen, LifespanError)
        assert "the override of App.value cannot be pickled" in str(seen)


def test_a_task_resource_is_fresh_for_each_attempt_and_closes_with_its_outcome(journey: Record) -> None:
    assert journey.seen["stored"] is True
    told = [mark for mark in journey.marks if "session" in mark.what or "store" in mark.what]
    assert [mark.what for mark in told] == [
        "open session",
        "store, attempt 1",
        "close session Broken",
        "open session",
        "store, attempt 2",
        "close session success",
    ]
    assert len({mark.pid for mark in told}) == 1


def test_a_process_resource_opens_once_in_a_process(journey: Record) -> None:
    opened = Counter(mark.pid for mark in marks_at(program.process_marks()) if mark.what == "open model")
    assert set(journey.seen["predicted"]) <= set(opened)
    if journey.kind != "ray":  # there it closes with the last lifespan of the process: no hook runs at its end
        assert max(opened.values()) == 1


def test_nested_tasks_find_the_lifespan(journey: Record) -> None:
    outer, called, _ = journey.seen["nested"]
    assert called == outer
    assert {"use db 10", "use db 11"} <= {mark.what for mark in journey.marks}


def test_subflows_in_a_worker_use_the_lifespan_in_force(journey: Record) -> None:
    outer, plain, joining, _ = journey.seen["delegated"]
    assert plain == joining == outer


def test_a_subflow_in_a_worker_has_its_own_lifespan_where_it_says_so(journey: Record) -> None:
    pid = journey.seen["delegated"][0]
    assert [(mark.pid, mark.what) for mark in journey.beside("child")] == [
        (pid, "open db"),
        (pid, "use db 22"),
        (pid, "close db success"),
    ]


def test_a_subflow_without_a_lifespan_submits_under_the_one_in_force(journey: Record) -> None:
    assert journey.seen["child"] in journey.pids("use db 20")


def test_state_hooks_and_rollback_hooks_use_resources_where_the_task_runs(journey: Record) -> None:
    assert len(journey.pids("hook on completion")) == 1
    assert len(journey.pids("hook on failure")) == 1
    assert journey.pids("hook on rollback") == journey.pids("hook on failure")


def test_a_lifespan_inside_a_flow_closes_in_its_workers_when_it_is_left(journey: Record) -> None:
    told = [mark.what for mark in journey.beside("shelter")]
    assert told.index("open shelter") < told.index("close shelter success") < told.index("shelter left")


@pytest.mark.parametrize(("asked", "resource"), [("opened", "Shelter.db"), ("new", "Shelter.late")])
def test_a_late_use_is_refused_by_name(journey: Record, asked: str, resource: str) -> None:
    (told,) = [mark.what for mark in journey.beside("shelter") if mark.what.startswith(f"late {asked}")]
    assert told.startswith(
        f"late {asked} LifespanClosedError {resource} was asked for after the lifespan of flow run '"
    )
    assert not [mark for mark in journey.beside("shelter") if mark.what == "open late"]


def test_openings_and_closings_of_every_process_are_lines_in_the_log_of_the_run(journey: Record) -> None:
    for pid in set(journey.pids("open db")):
        where = f" in worker process {pid}" if journey.is_elsewhere else ""
        for done in ("Opened", "Closed"):
            lines = [line for line in journey.log if line.startswith(f"{done} App.db in") and line.endswith(where)]
            assert len(lines) == 1


def test_a_close_error_in_a_worker_fails_the_attempt_whose_body_succeeded(failing: Record) -> None:
    first = [mark.what for mark in failing.marks][: failing.index("attempt ends")]
    assert first[-1] == "raises Stuck"
    assert "close db success" in first
    assert "fail to close brittle" in first


def test_a_retried_flow_has_fresh_resources(failing: Record) -> None:
    assert len(failing.pids("open db")) == len(failing.pids("open brittle")) == 2


def test_what_the_body_raises_rolls_back_in_workers(failing: Record) -> None:
    second = [mark.what for mark in failing.marks][failing.index("attempt ends") :]
    assert second[-3:] == ["raises Broken", "attempt ends", "returned"]
    assert "close db Broken" in second


def test_a_close_error_in_a_worker_is_a_note_of_what_the_body_raised(failing: Record) -> None:
    assert isinstance(failing.error, program.Broken)
    assert failing.pids("fail to close brittle") == failing.pids("open brittle")
    second = [mark.what for mark in failing.marks][failing.index("attempt ends") :]
    (told,) = [what for what in second if what.startswith("note")]
    assert "App.brittle" in told
    assert "Stuck" in told


def test_concurrent_runs_have_their_own_overrides(meeting: tuple[list[Any], list[Record]]) -> None:
    met, _ = meeting
    assert met == [("left", True), ("right", True)]


def test_concurrent_runs_open_and_close_their_own_resources(meeting: tuple[list[Any], list[Record]]) -> None:
    for record in meeting[1]:
        assert [mark.what for mark in record.marks] == ["open db", "here", "close db success", "returned"]
