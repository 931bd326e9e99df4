"""A signal's exception at any line of what a worker process does with lifespans: nothing waits for a lock after that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from prefect_lifespan.engine import CloseReport, library_logger
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.workers.membership import Membership
from prefect_lifespan.workers.process_pool import submitted
from prefect_lifespan.workers.references import LifespanReference, ScopeReference
from prefect_lifespan.workers.worker_lifespan import Users
from prefect_lifespan.workers.worker_lifespans import WorkerLifespans
from tests.interrupting import interrupted_at, returns

LOGGER: Logger = library_logger
REFERENCE = LifespanReference("id", "flow run 'x'", LOGGER, None, (), b"")

Made = tuple[Callable[[], object], Callable[[], object], str]  # what is interrupted, what others do then, and where


def a_task_comes_and_goes() -> Made:
    users = Users()

    def come_and_go() -> None:
        users.come()
        users.go()

    return come_and_go, come_and_go, "workers/worker_lifespan.py"


def a_task_holds_a_lifespan() -> Made:
    lifespans = WorkerLifespans()

    def hold() -> None:
        with lifespans.holding(ScopeReference("key", (REFERENCE,), (), attached=True)):
            pass

    return hold, lambda: lifespans.close_all(terminated=True), "workers/worker_lifespans.py"


def a_lifespan_of_this_process_ends() -> Made:
    lifespans = WorkerLifespans()
    return (
        lambda: lifespans.forget("id", 0.0),
        lambda: lifespans.seconds_to_close("id", None),
        "workers/worker_lifespans.py",
    )


def all_close() -> Made:
    lifespans = WorkerLifespans()
    close = partial(lifespans.close_all, terminated=True)
    return close, close, "workers/worker_lifespans.py"


def a_process_joins() -> Made:
    member = Membership(REFERENCE, lambda _: None, attached=True, ended=False)

    def join_and_resign() -> None:
        member.ask_for_notice()
        member.resign()
        member.say_farewell(CloseReport("", None))

    return join_and_resign, member.resign, "workers/membership.py"


def a_pool_is_submitted_to() -> Made:
    class Runner: ...

    def submit() -> None:
        submitted(Runner(), "a scope", lambda: None)  # type: ignore[arg-type]

    return submit, submit, "workers/process_pool.py"


@pytest.mark.parametrize(
    "made",
    [
        a_task_comes_and_goes, a_task_holds_a_lifespan, a_lifespan_of_this_process_ends, all_close, a_process_joins,
        a_pool_is_submitted_to,
    ],
)  # fmt: skip
def test_what_was_interrupted_at_any_line_keeps_nobody_out(made: Callable[[], Made]) -> None:
    number = 1
    while interrupted_at(number, (call := made())[0], call[2]):
        assert returns(call[1]), f"line {number} leaves a lock taken"
        number += 1
    assert number > 1
