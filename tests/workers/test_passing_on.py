"""What tasks in other processes pass on, leave behind, or fail with; on every task runner where that may differ."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect.variables import Variable

from prefect_lifespan.workers.messages import FailedElsewhere
from tests.workers.programs import api_closers
from tests.workers.programs import passing as program
from tests.workers.programs.journey import Broken, mark
from tests.workers.records import Mark, Runners, marks_at, on

HERE_AND_ELSEWHERE = on("thread", "pool", "dask processes", extended=["dask threads", "ray"])
ELSEWHERE = on("pool", "dask processes", extended=["ray"])


class Runs:
    """Runs flows, each with marks of its own."""

    def __init__(self, runners: Runners, folder: Path) -> None:
        self._runners = runners
        self._folder = folder
        self.path = folder / "marks"
        self.error: Any = None

    def run(self, flow: Any, kind: str) -> Any:
        """The result of a flow; None where it fails, with the error kept."""
        self.path = self._folder / f"{flow.name}-{kind.replace(' ', '-')}"
        state = flow.with_options(task_runner=self._runners.of(kind))(str(self.path), return_state=True)
        mark(str(self.path), "returned")
        found = state.result(raise_on_failure=False)
        self.error = found if isinstance(found, BaseException) else None
        return None if self.error else found

    @property
    def marks(self) -> list[Mark]:
        return marks_at(self.path)

    @property
    def told(self) -> list[str]:
        return [mark.what for mark in self.marks]


@pytest.fixture
def runs(runners: Runners, tmp_path: Path) -> Runs:
    return Runs(runners, tmp_path)


@pytest.mark.parametrize("kind", HERE_AND_ELSEWHERE)
def test_a_worker_that_only_passes_a_lifespan_on_closes_what_it_led_to(runs: Runs, kind: str) -> None:
    pid = runs.run(program.passing, kind)

    assert [(mark.pid, mark.what) for mark in runs.marks[:-1]] == [
        (pid, "open db"),
        (pid, "use 1"),
        (pid, "close db success"),
    ]
    assert runs.told[-1] == "returned"


@pytest.mark.parametrize("kind", HERE_AND_ELSEWHERE)
@pytest.mark.parametrize(
    ("flow", "outcome"), [(program.failing_beside, "Broken"), (program.cancelling_beside, "success")]
)
def test_what_a_running_task_uses_stays_open_until_it_ends(runs: Runs, kind: str, flow: Any, outcome: str) -> None:
    runs.run(flow, kind)

    assert runs.told == ["open db", "lasts 0", "body ends", "lasted 0", f"close db {outcome}", "returned"]


@pytest.mark.parametrize("kind", on("thread", "pool", extended=["ray"]))
def test_tasks_that_a_task_leaves_behind_are_waited_for(runs: Runs, kind: str) -> None:
    runs.run(program.leaving_behind, kind)

    assert sorted(what for what in runs.told if what.startswith("use")) == [f"use {number}" for number in range(6)]
    assert runs.told.count("open db") == runs.told.count("close db success")
    assert runs.told[-1] == "returned"


class Given(containers.DeclarativeContainer):
    level = providers.Object("given")


class Users(containers.DeclarativeContainer):
    user = providers.Object("somebody")


@pytest.fixture(scope="module")
def overridden_on_the_class() -> None:
    asked: Any = program.Asked
    asked.limit.override(providers.Object(60))
    asked.part.override(Given)
    asked.users.override(Users)


@pytest.mark.usefixtures("overridden_on_the_class")
@pytest.mark.parametrize("kind", on("thread", "pool", extended=["dask processes", "ray"]))
def test_what_is_overridden_on_the_class_goes_along_for_dependencies_too(runs: Runs, kind: str) -> None:
    assert runs.run(program.asking, kind) == (60, "given", "named", "somebody")


@pytest.mark.parametrize("kind", ["thread", "pool"])
def test_a_subflow_in_a_worker_opens_what_its_lifespan_names(runs: Runs, kind: str) -> None:
    runs.run(program.delegating, kind)

    assert runs.error is None
    told = [mark.what for mark in marks_at(runs.path.with_name(f"{runs.path.name}.child"))]
    assert told == ["open db", "open other", "close other success", "close db success"]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_an_outcome_that_a_worker_cannot_load_is_a_failure_there(runs: Runs, kind: str) -> None:
    runs.run(program.failing_with_what_stays_here, kind)

    assert type(runs.error) is program.NotElsewhere
    assert runs.told == ["open db", "use 0", "close db FailedElsewhere", "returned"]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_close_error_that_the_driver_cannot_load_is_named_in_its_place(runs: Runs, kind: str) -> None:
    runs.run(program.closing_badly, kind)

    assert isinstance(runs.error, FailedElsewhere)
    assert str(runs.error).startswith("tests.workers.programs.passing.NotElsewhere, which cannot be unpickled ")
    assert runs.error.__notes__ == ["while closing Unclosable.unclosable"]


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_close_error_that_the_driver_cannot_load_does_not_replace_the_bodys_own(runs: Runs, kind: str) -> None:
    runs.run(program.failing_and_closing_badly, kind)

    assert type(runs.error) is Broken
    assert any("while closing Unclosable.unclosable" in note for note in runs.error.__notes__)


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_closer_in_a_worker_talks_to_the_api_and_the_run_completes(runners: Runners, kind: str) -> None:
    ((name, pid),) = api_closers.noting.with_options(task_runner=runners.of(kind))()
    assert pid != os.getpid()
    assert Variable.get(name) == "closed"
