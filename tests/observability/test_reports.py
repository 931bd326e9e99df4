"""The report of a run: what it shows of each resource, however the run ended and wherever its tasks ran."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.injection.plan import plan_of
from prefect_lifespan.observability.picture import Drawn, Row
from prefect_lifespan.observability.shown import html, markdown
from prefect_lifespan.scope import current_scope
from tests.observability import programs
from tests.observability.artifacts import drawn_of
from tests.observability.programs import App


@pytest.fixture(autouse=True, scope="module")
def ended() -> Iterator[None]:
    """What lives as long as the process ends with these tests, by the end of a block."""
    yield
    with lifespan(App, eager=False):
        pass


class Plain(containers.DeclarativeContainer):
    store = providers.Resource(lambda: "store")


def report_of(function: Any, **parameters: Any) -> Drawn:
    """The report of one run of a flow in this process."""
    function(**parameters, return_state=True)
    return drawn_of(programs.runs.pop())


def rows_of(drawn: Drawn, path: str) -> list[Row]:
    return [row for row in drawn.rows if row.path == path]


def test_it_shows_who_has_used_each_resource_what_was_tried_again_and_how_long_tasks_were_waited_for() -> None:
    programs.Refusing.failed.clear()
    drawn = report_of(programs.reported)
    (warehouse,), (api,), (unused,) = (rows_of(drawn, path) for path in ("warehouse", "api", "unused"))
    (session,), (model,) = rows_of(drawn, "session"), rows_of(drawn, "model")
    assert warehouse.tasks == {"": 1, "store": 3}
    assert (api.tasks, unused.tasks) == ({"fetch": 2}, {})
    assert session.tasks == model.tasks == {"store": 3}
    assert (session.openings, model.openings, model.lifetime) == (3, 1, "process")
    assert len(api.retried) == 1
    assert warehouse.errors == ["close-failed: OSError: cannot say goodbye to postgresql://me:***@db/app"]
    assert drawn.waiting is not None
    assert 0 < drawn.waiting[0] <= drawn.waiting[1] <= drawn.seconds
    assert drawn.ended == "ended well"
    text = markdown(drawn)
    assert "| the flow, store \N{MULTIPLICATION SIGN}3 |" in text
    assert "tried again; open-retried: OSError: https://me:***@api" in text
    assert "(the tasks)" in text
    assert "store \N{MULTIPLICATION SIGN}3" in html(drawn)


def test_a_run_that_failed_has_one_which_says_why() -> None:
    drawn = report_of(programs.reported, fail=True)
    assert drawn.ended == "failed (ValueError: the work failed)"
    assert rows_of(drawn, "unused")[0].closed is not None


def test_of_worker_processes_it_shows_what_each_of_them_has_opened_and_for_whom() -> None:
    pool: Any = ProcessPoolTaskRunner(max_workers=2)
    drawn = report_of(programs.reported.with_options(task_runner=pool))
    elsewhere = [row for row in drawn.rows if row.pid != os.getpid()]
    for path, task_name, runs in (("warehouse", "store", 3), ("session", "store", 3), ("model", "store", 3)):
        assert sum(row.tasks.get(task_name, 0) for row in elsewhere if row.path == path) == runs
    assert sum(row.tasks.get("fetch", 0) for row in elsewhere if row.path == "api") == 2
    assert {row.lifetime for row in elsewhere if row.path == "model"} == {"process"}
    assert f"worker {elsewhere[0].pid}" in markdown(drawn)


def test_a_flow_that_joins_shows_what_it_uses_of_what_was_open_before() -> None:
    with lifespan(App, on_close_error="warn"):
        drawn = report_of(programs.reported)
    (warehouse,) = rows_of(drawn, "warehouse")
    assert (warehouse.openings, warehouse.tasks) == (0, {"": 1, "store": 3})
    assert "was open before" in markdown(drawn)


def test_without_a_report_nobody_is_told_of_uses_and_calls_go_by_what_was_prepared() -> None:
    """A report costs each call the decisions of a first one; without one, the second call makes none."""
    decided: list[bool] = []

    def call(*, report: bool) -> list[bool]:
        @task
        @inject
        def use(store: str = Provide[Plain.store]) -> None:
            plan = plan_of(use.fn)
            decided.append(plan is not None and plan.key not in current_scope().ground.prepared)

        @flow
        @lifespan(Plain, report=report)
        def run() -> None:
            use()
            use()

        decided.clear()
        run()
        return decided

    assert call(report=False) == [False, False]
    assert call(report=True) == [True, True]
