"""`serve_tasks`: one lifespan for all background tasks of a process, which ends in order."""

from __future__ import annotations

from signal import SIGTERM
from typing import Any

import pytest

from prefect_lifespan import UsageError, serve_tasks
from tests.processes.running import Programs, eventually


def test_tasks_share_one_lifespan_and_sigterm_lets_them_end_and_closes_it(programs: Programs) -> None:
    server = programs.start("serving", "serve")
    server.reaches("open feed")
    for which in ("store", "waits"):
        assert programs.start("serving", which).ends() == 0
    server.reaches("close session none", "waits 1, feed open")
    server.send(SIGTERM)
    server.tell("go on")

    assert server.ends() == 0
    marks = server.marks()
    assert marks[:2] == ["open db", "open feed"]
    assert sorted(marks[2:-3]) == [
        "close session none", "open session", "stored 3, db open, session open", "waits 1, feed open",
    ]  # fmt: skip
    assert marks[-3:] == ["goes on, feed open", "close feed none", "close db none"]


def test_sigterm_while_resources_open_closes_those_that_have_opened(programs: Programs) -> None:
    server = programs.start("serving", "slowly")
    server.reaches("opening last")
    server.send(SIGTERM)

    assert server.ends() == 0
    marks = server.marks()
    assert marks[0] == "open db"
    assert marks[-1] == "close db CancelledError"


def test_a_task_that_waits_for_its_turn_when_it_is_told_to_stop_is_given_back(programs: Programs) -> None:
    server = programs.start("serving", "stop", "1", "60")
    assert programs.start("serving", "blocks", "1", "2").ends() == 0
    server.reaches("blocks 1")
    eventually(lambda: server.log().count("Received task run") == 2, "both are received", server.log)
    server.send(SIGTERM)
    server.prints("is given back")
    server.tell("unblock 1")
    assert server.ends() == 0
    assert server.marks()[2:] == ["blocks 1", "unblocked 1, db open", "close feed none", "close db none"]

    next_one = programs.start("serving", "stop", "1", "60")
    next_one.reaches("blocks 2")
    next_one.tell("unblock 2")
    next_one.reaches("unblocked 2, db open")


def test_asynchronous_tasks_go_on_beside_one_that_blocks_when_it_is_told_to_stop(programs: Programs) -> None:
    server = programs.start("serving", "stop", "5", "60")
    for arguments in (["blocks", "3"], ["waits"]):
        assert programs.start("serving", *arguments).ends() == 0
    server.reaches("blocks 3", "waits 1, feed open")
    server.send(SIGTERM)
    server.prints("Told to stop")
    server.tell("go on")
    server.reaches("goes on, feed open")
    server.tell("unblock 3")

    assert server.ends() == 0
    assert server.marks()[-3:] == ["unblocked 3, db open", "close feed none", "close db none"]


@pytest.mark.parametrize("again", [pytest.param(False, marks=pytest.mark.extended), True])
def test_a_task_that_hangs_keeps_nothing_open_and_no_process(programs: Programs, again: bool) -> None:
    server = programs.start("serving", "stop", "5", "60" if again else "0.5")
    for arguments in (["blocks", "4"], ["waits"]):
        assert programs.start("serving", *arguments).ends() == 0
    server.reaches("blocks 4", "waits 1, feed open")
    server.send(SIGTERM)
    server.prints("Told to stop")
    if again:
        server.send(SIGTERM)

    assert server.ends() == 0
    assert server.marks()[-2:] == ["close feed CancelledError", "close db CancelledError"]
    assert "Still running after a grace of 10 s, their resources close now: 'blocks'" in server.log()


@pytest.mark.parametrize(
    ("tasks", "options", "error"),
    [
        ([], {}, "none was given"),
        ([len], {}, "built-in function len> is none: decorate it with @task"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(tasks: list[Any], options: dict[str, Any], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        serve_tasks(*tasks, **options)
