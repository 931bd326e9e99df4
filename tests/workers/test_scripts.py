"""What stands in `__main__` of a script, container, classes, tasks and flows, behaves on each runner as if imported.

One program a runner goes through all of it (programs/standalone.py); each test reads one behaviour from what it has
left behind. It runs twice one after the other and twice side by side, as classes of `__main__` arrive in processes
that have had them before, and in two threads of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.processes.ending import end
from tests.workers.records import Mark, Runners, marks_at, on

PROGRAM = Path(__file__).parent / "programs" / "standalone.py"
SECONDS = 200


@dataclass
class Script:
    """A program on a kind of task runner, and what it has left behind."""

    kind: str
    folder: Path
    process: subprocess.Popen[bytes]

    @cached_property
    def seen(self) -> dict[str, Any]:
        """What its flows returned."""
        assert self.process.wait(SECONDS) == 0, (self.folder / "log").read_text()
        return json.loads((self.folder / "seen.json").read_text())

    @property
    def is_elsewhere(self) -> bool:
        """Whether its tasks ran in other processes."""
        return self.kind in {"pool", "dask processes", "ray"}

    def marks(self, run: str) -> list[Mark]:
        """The marks of one run."""
        assert self.seen
        return marks_at(self.folder / run)

    def said(self, run: str) -> list[str]:
        """The same without the processes."""
        return [mark.what for mark in self.marks(run)]


@pytest.fixture(scope="session", params=on("ray", extended=["thread", "pool", "dask processes", "dask threads"]))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def script(
    kind: str, prefect_server: str, runners: Runners, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Script]:
    """The program on a kind of task runner."""
    fixture = {"dask processes": "dask_processes", "ray": "ray_cluster"}.get(kind)
    address = runners.fixture(fixture) if fixture else ""
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "RAY_AUTH_MODE": "disabled",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    folder = tmp_path_factory.mktemp("script")
    command = [sys.executable, str(PROGRAM), kind, address, str(folder)]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,  # noqa: S603
    ):
        yield Script(kind, folder, process)
        if process.poll() is None:
            end(process.pid)


def test_tasks_submitted_and_mapped_use_resources_of_classes_of_the_script(script: Script) -> None:
    seen = script.seen["everything"]
    used = [seen["submitted"], *seen["mapped"]]
    assert [(number, of_its_class) for number, _, of_its_class in used] == [(n, True) for n in range(4)]
    assert bool({pid for _, pid, _ in used} - {seen["driver"]}) is script.is_elsewhere


def test_asynchronous_tasks_use_asynchronous_resources_beside_blocking_ones(script: Script) -> None:
    asynchronous = script.seen["everything"]["asynchronous"]
    assert [(number, of_its_class) for number, _, _, of_its_class in asynchronous] == [(0, True), (1, True)]
    assert all(of_api == of_db for _, of_api, of_db, _ in asynchronous)
    assert Counter(script.said("everything"))["close api success"] == 2


def test_every_process_opens_a_resource_once_for_an_attempt_and_closes_it_with_the_outcome(script: Script) -> None:
    marks = script.marks("everything")
    second = [mark.what for mark in marks].index("attempt 2")
    for attempt, outcome in ((marks[:second], "Broken"), (marks[second:], "success")):
        opened = Counter(mark.pid for mark in attempt if mark.what == "open db")
        assert opened == Counter(mark.pid for mark in attempt if mark.what == f"close db {outcome}")
        assert set(opened) == {mark.pid for mark in attempt if mark.what.startswith("use db")}
        assert set(opened.values()) == {1}


def test_everything_closes_before_the_flow_function_returns(script: Script) -> None:
    for run in ("everything", "again", "left", "right", "east", "west"):
        said = script.said(run)
        assert said[-1] == "returned"
        opened = Counter(what.split()[1] for what in said if what.startswith("open"))
        assert opened == Counter(what.split()[1] for what in said if what.startswith("close"))


def test_a_task_resource_is_fresh_for_each_attempt_and_closes_with_its_outcome(script: Script) -> None:
    assert script.seen["everything"]["stored"] is True
    assert [what for what in script.said("everything") if "session" in what or "store" in what] == [
        "open session",
        "store, attempt 1",
        "close session Broken",
        "open session",
        "store, attempt 2",
        "close session success",
    ]


def test_a_process_resource_opens_once_in_a_process(script: Script, process_marks: Path) -> None:
    pids = [script.seen[run]["predicted"] for run in ("everything", "again")]
    marks = [mark for mark in marks_at(process_marks) if "model of a script" in mark.what and mark.pid in pids]
    opened = Counter(mark.pid for mark in marks if mark.what.startswith("open"))
    # On Ray it closes with the last lifespan of the process: no hook runs at its end.
    assert opened == Counter(pids if script.kind == "ray" else set(pids))
    if not script.kind.startswith("dask p"):  # its workers live on
        assert opened == Counter(mark.pid for mark in marks if mark.what == "close model of a script success")


def test_nested_tasks_find_the_lifespan(script: Script) -> None:
    outer, called, _ = script.seen["everything"]["nested"]
    assert called == outer
    assert {"use db 10", "use db 11"} <= set(script.said("everything"))


def test_a_plain_object_of_a_class_of_the_script_stands_in_and_is_of_that_class(script: Script) -> None:
    assert script.seen["everything"]["read"] == [
        ["real", True, False],
        ["between", True, True],
        ["real", True, False],
    ]


def test_a_second_run_in_the_same_process_has_its_own_resources_and_overrides(script: Script) -> None:
    seen = script.seen["again"]
    assert seen["read"] == ["again", True, True]
    assert [(number, of_its_class) for number, _, of_its_class in seen["mapped"]] == [(n, True) for n in range(4)]
    opened = Counter(mark.pid for mark in script.marks("again") if mark.what == "open db")
    assert set(opened) == {pid for _, pid, _ in seen["mapped"]}
    assert opened == Counter(mark.pid for mark in script.marks("again") if mark.what == "close db success")


def test_what_has_changed_on_a_class_and_in_the_globals_of_its_functions_reaches_processes_that_had_it_before(
    script: Script,
) -> None:
    assert script.seen["greeted"] == [["hello, nobody"], ["good bye, everybody"]]


@pytest.mark.parametrize(("how", "names"), [("threads", ("left", "right")), ("gathered", ("east", "west"))])
def test_concurrent_runs_have_their_own_resources_and_overrides(
    script: Script, how: str, names: tuple[str, str]
) -> None:
    assert script.seen[how] == [[name, True] for name in names]
    for name in names:
        assert script.said(name) == ["open db", "here", "close db success", "returned"]
