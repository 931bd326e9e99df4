"""`task.delay()` to a process that serves tasks: each run opens just what it needs, and closes it with its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGTERM

import pytest

from tests.processes.running import Program, Programs


@pytest.fixture
def worker(programs: Programs) -> Iterator[Program]:
    """A process that serves the tasks of `programs.background`."""
    worker = programs.start("background", "serve")
    yield worker
    worker.kill()


def test_a_delayed_task_opens_what_it_needs_and_closes_it_with_its_outcome(programs: Programs, worker: Program) -> None:
    assert programs.start("background", "3").ends() == 0
    worker.reaches("close db none")
    assert worker.marks() == [
        "open db",
        "open session",
        "stored 3, session open",
        "close session none",
        "close db none",
    ]

    assert programs.start("background", "-1").ends() == 0
    worker.reaches("close db ValueError")
    assert worker.marks()[5:] == [
        "open db", "open session", "stored -1, session open", "close session ValueError", "close db ValueError",
    ]  # fmt: skip


def test_a_task_delayed_in_a_lifespan_opens_its_own_in_the_worker(programs: Programs, worker: Program) -> None:
    delaying = programs.start("background", "flow")
    assert delaying.ends() == 0
    worker.reaches("close db none")

    assert not any(line.startswith("open") for line in delaying.marks())
    assert worker.marks() == [
        "open db",
        "open session",
        "stored 3, session open",
        "close session none",
        "close db none",
    ]


def test_sigterm_ends_a_task_worker_and_closes_nothing(programs: Programs, worker: Program) -> None:
    """Prefect lets the process die: docs/limits.md says what to do."""
    programs.start("background", "waits")
    worker.reaches("body")
    worker.send(SIGTERM)

    assert worker.ends() == -SIGTERM
    assert worker.marks() == ["open db", "open session", "body"]
