"""`serve_tasks`: one lifespan for all background tasks of a process, which ends in order."""

from __future__ import annotations

from signal import SIGTERM
from typing import Any

import pytest

from prefect_lifespan import UsageError, serve_tasks
from tests.processes.running import Programs


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
