"""`task.delay()` to a process that serves tasks: each run opens just what it needs, and closes it with its outcome."""

from __future__ import annotations

from collections import Counter
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


@pytest.fixture(
    params=[
        "script to module",
        *(pytest.param(f"{at} to {at}", marks=pytest.mark.extended) for at in ("script", "module")),
    ]
)
def way(request: pytest.FixtureRequest) -> list[str]:
    """Where container and tasks of `programs.delaying` stand, for who delays and for who serves."""
    return request.param.split(" to ")


@pytest.fixture
def where(way: list[str]) -> str:
    """Where they stand for who delays."""
    return way[0]


@pytest.fixture
def server(way: list[str], programs: Programs) -> Iterator[Program]:
    """A process that serves the tasks of `programs.delaying`."""
    if way == ["script", "module"]:
        server = programs.start("prefect.__main__", "task", "serve", "--module", "tests.processes.programs.delaying")
    else:
        server = programs.start("delaying", way[1], "serve")
    yield server
    server.kill()


@pytest.fixture(params=["thread", "pool"])
def runner(request: pytest.FixtureRequest) -> str:
    """The task runner of the flow that delays, which is not where its delayed tasks run."""
    return request.param


def test_what_is_in_force_at_the_delay_reaches_the_worker_when_the_flow_has_ended(
    where: str, programs: Programs, server: Program
) -> None:
    delaying = programs.start("delaying", where, "ends")
    assert delaying.ends() == 0

    assert not any(line.startswith("open") for line in delaying.marks())
    for name, greeting, outcome in (
        ("one", "its lifespan", "none"),
        ("another", "an override in it", "none"),
        ("fails", "an override around it", "ValueError"),
        ("without", "an override alone", "none"),
    ):
        server.reaches(f"close db of {greeting} none")
        assert [line for line in server.marks() if greeting in line] == [
            f"open db of {greeting}",
            f"open session of {greeting}",
            f"{name} finds {greeting}, session open",
            f"close session of {greeting} {outcome}",
            f"close db of {greeting} none",
        ]


def test_tasks_that_one_lifespan_delays_share_what_it_opens_in_the_worker(
    where: str, runner: str, programs: Programs, server: Program
) -> None:
    """Its own flow tells the worker to close, where it can; what nobody will close closes behind the last task."""
    delaying = programs.start("delaying", where, f"twice on a {runner}")
    server.reaches("first begins", "second begins")
    server.tell("go first")
    server.reaches("first finds db of what is declared open")
    if runner == "thread":
        delaying.tell("end")
        assert delaying.ends() == 0
    server.tell("go second")
    server.reaches("second finds db of what is declared open")
    if runner == "pool":
        assert server.marks()[-1] == "second finds db of what is declared open"
        delaying.tell("end")
        assert delaying.ends() == 0
        assert server.marks()[-1] == "close db of what is declared none"
    server.reaches("close db of what is declared none")

    assert Counter(line for line in server.marks() if " db " in line and "finds" not in line) == {
        "open db of what is declared": 1,
        "close db of what is declared none": 1,
    }


def test_sigterm_ends_a_task_worker_and_closes_nothing(programs: Programs, worker: Program) -> None:
    """Prefect lets the process die: docs/limits.md says what to do."""
    programs.start("background", "waits")
    worker.reaches("body")
    worker.send(SIGTERM)

    assert worker.ends() == -SIGTERM
    assert worker.marks() == ["open db", "open session", "body"]
