"""The schedule by tables: which change follows which state, which command follows which event, each limit and its grace."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_lifespan.engine.schedule import closing as close
from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule import opening as open_
from prefect_lifespan.engine.schedule.clock import Clock
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.standing import Abandoned, Schedule, Verdict
from prefect_lifespan.engine.schedule.states import Change, IllegalChangeError, State, after
from prefect_lifespan.errors import LifespanClosedError, ResourceTimeoutError
from tests.engine.scheduled import Resource, closing_of, opening_of

LEGAL = {
    (Change.CLAIMED, State.PENDING): State.OPENING,
    (Change.OPENED, State.OPENING): State.OPEN,
    (Change.FAILED, State.OPENING): State.PENDING,
    (Change.CAME_LATE, State.OPENING): State.CLOSED,
    (Change.CLOSING, State.OPEN): State.CLOSING,
    (Change.CLOSING, State.CLOSING): State.CLOSING,
    (Change.CLOSED, State.CLOSING): State.CLOSED,
    (Change.CLOSED, State.CLOSED): State.CLOSED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("change", Change)
def test_each_change_leads_from_its_states_to_one_and_is_refused_in_all_others(change: Change, state: State) -> None:
    if (change, state) in LEGAL:
        assert after(change, state, "App.db") is LEGAL[change, state]
    else:
        with pytest.raises(IllegalChangeError, match=rf"App\.db was noted as {change.value} .*\({state.name}\)"):
            after(change, state, "App.db")


def test_each_illegal_change_has_a_message_of_its_own() -> None:
    messages = {
        str(IllegalChangeError("App.db", change, state))
        for change in Change
        for state in State
        if (change, state) not in LEGAL
    }
    assert len(messages) == len(Change) * len(State) - len(LEGAL)


def two(**policy: Any) -> tuple[Resource, Resource]:
    """A resource, and one that needs it."""
    schedule = Schedule("App")
    a = Resource("a", schedule, asynchronous=True, **policy)
    return a, Resource("b", schedule, a, asynchronous=True, **policy)


def begin(opening: open_.Opening[Resource], resource: Resource, now: float = 0.0, *, cancellable: bool = True) -> Any:
    command = opening.next(now)
    assert isinstance(command, open_.Open)
    assert command.resource is resource
    opening.begun(resource, now, cancellable=cancellable)
    return command.claim.attempt


def opened(opening: open_.Opening[Resource], resource: Resource, now: float = 0.0) -> None:
    attempt = begin(opening, resource, now)
    assert resource.opened(attempt, now) is Verdict.STAYS
    opening.succeeded(resource)


def test_what_needs_another_begins_when_that_is_open_and_nothing_is_left_then() -> None:
    a, b = two()
    opening = opening_of([a, b])
    attempt = begin(opening, a)
    assert opening.next(0) == open_.Wait(None)
    a.opened(attempt, 0)
    opening.succeeded(a)
    opened(opening, b)
    assert opening.next(0) is None
    assert (a.state, b.state, opening.failure) == (State.OPEN, State.OPEN, None)


def test_up_to_so_many_that_are_not_side_by_side_open_at_a_time_in_the_order_in_which_they_came() -> None:
    schedule = Schedule("App")
    resources = [Resource(name, schedule) for name in "abc"]
    opening = opening_of(resources, at_most=2)
    attempts = [begin(opening, resource, cancellable=False) for resource in resources[:2]]
    assert opening.next(0) == open_.Wait(None)
    resources[0].opened(attempts[0], 0)
    opening.succeeded(resources[0])
    begin(opening, resources[2], cancellable=False)


def test_a_failure_is_tried_again_after_its_pause_and_is_final_when_no_attempt_is_left() -> None:
    a, _ = two(retries=1, retry_delay_seconds=5)
    opening = opening_of([a])
    begin(opening, a, 0)
    opening.failed(a, OSError("first"), 1)
    assert opening.next(1) == open_.Wait(6)
    assert opening.next(5.9) == open_.Wait(6)
    begin(opening, a, 6)
    second = OSError("second")
    opening.failed(a, second, 8)
    assert opening.next(8) is None
    assert (opening.failure, a.failure, a.state) == (second, second, State.PENDING)
    assert a.events == [("open-retried", 1), ("open-failed", 2)]


def test_two_that_fail_before_anything_else_is_done_leave_nothing_that_is_under_way_uncancelled() -> None:
    schedule = Schedule("App")
    a, b, c = (Resource(name, schedule, asynchronous=True) for name in "abc")
    opening = opening_of([a, b, c])
    for resource in (a, b, c):
        begin(opening, resource)
    first = OSError("a")
    opening.failed(a, first, 1)
    opening.failed(b, OSError("b"), 1)
    commands = [opening.next(1), opening.next(1)]
    assert open_.Cancel(c) in commands
    opening.failed(c, OSError("cancelled"), 2)
    assert opening.next(2) is None
    assert (opening.failure, {each.state for each in (a, b, c)}) == (first, {State.PENDING})


def test_a_task_is_cancelled_at_its_limit_and_left_behind_after_its_grace() -> None:
    a, _ = two(open_timeout_seconds=10, retries=3, retry_delay_seconds=0)
    opening = opening_of([a])
    attempt = begin(opening, a)
    assert opening.next(0) == open_.Wait(10)
    assert opening.next(10) == open_.Cancel(a)
    assert opening.next(10) == open_.Wait(10 + limits.GRACE_SECONDS)
    assert opening.next(10 + limits.GRACE_SECONDS) == open_.LeaveBehind(a)
    assert opening.next(12) is None
    assert isinstance(opening.failure, ResourceTimeoutError)
    assert a.opened(attempt, 13) is Verdict.LEFT_BEHIND
    assert a.state is State.PENDING


def test_what_a_task_enters_after_it_was_cancelled_at_its_limit_took_too_long() -> None:
    a, _ = two(open_timeout_seconds=10)
    opening = opening_of([a])
    attempt = begin(opening, a)
    assert opening.next(10) == open_.Cancel(a)
    assert a.opened(attempt, 10.5) is Verdict.TOOK_TOO_LONG
    opening.failed(a, attempt.timeout(), 10.5)
    assert isinstance(a.failure, ResourceTimeoutError)


def test_a_thread_is_left_behind_at_its_limit_and_the_next_attempt_has_another_one() -> None:
    a = Resource("a", Schedule("App"), open_timeout_seconds=10, retries=1, retry_delay_seconds=0)
    opening = opening_of([a])
    first = begin(opening, a, cancellable=False)
    assert opening.next(10) == open_.LeaveBehind(a)
    second = begin(opening, a, 10, cancellable=False)
    assert a.opened(first, 11) is Verdict.LEFT_BEHIND
    assert a.opened(second, 11) is Verdict.STAYS


def test_in_the_calling_thread_the_limit_is_looked_at_when_it_is_done() -> None:
    a = Resource("a", Schedule("App"), open_timeout_seconds=10)
    command = opening_of([a]).next(0)
    assert isinstance(command, open_.Open)
    assert a.opened(command.claim.attempt, 11) is Verdict.TOOK_TOO_LONG


def test_time_that_it_waits_for_others_does_not_count_towards_its_limit() -> None:
    a, _ = two(open_timeout_seconds=10)
    opening = opening_of([a])
    attempt = begin(opening, a)
    attempt.pause(1)
    assert opening.next(10) == open_.Wait(10 + 9)
    attempt.resume(21)
    assert opening.next(29) == open_.Wait(30)
    assert opening.next(30) == open_.Cancel(a)


def test_a_clock_stands_still_as_long_as_anybody_pauses_it() -> None:
    clock = Clock()
    clock.start(0)
    clock.pause(1)
    clock.pause(2)
    clock.resume(5)
    assert clock.seconds(9) == 1
    clock.resume(9)
    assert clock.seconds(10) == 2


def test_a_failure_cancels_what_is_under_way_and_waits_for_it_no_longer_than_closing_may_take() -> None:
    schedule = Schedule("App")
    a, b, c = (Resource(name, schedule, asynchronous=True, close_timeout_seconds=5) for name in "abc")
    opening = opening_of([a, b, c])
    attempts = [begin(opening, resource) for resource in (a, b, c)]
    own = OSError("own")
    opening.failed(a, own, 0)
    assert [opening.next(0), opening.next(0)] == [open_.Cancel(b), open_.Cancel(c)]
    assert b.opened(attempts[1], 1) is Verdict.STAYS
    opening.succeeded(b)
    assert opening.next(1) == open_.Wait(5)
    assert opening.next(5) == open_.Cancel(c)
    assert opening.next(5 + limits.GRACE_SECONDS) == open_.LeaveBehind(c)
    assert opening.next(7) is None
    assert (opening.failure, b.state, c.state) == (own, State.OPEN, State.PENDING)


def test_whoever_waits_for_another_ones_opening_takes_over_when_that_is_abandoned() -> None:
    a, _ = two()
    theirs, mine = opening_of([a]), opening_of([a])
    begin(theirs, a)
    assert mine.next(0) == open_.Await(a)
    assert a.waiter() is not None
    theirs.wind_down(KeyboardInterrupt(), 1)
    assert theirs.next(1) == open_.Cancel(a)
    theirs.failed(a, KeyboardInterrupt(), 1)
    (told,) = a.woken
    assert isinstance(told, Abandoned)
    mine.ended_elsewhere(a, told, 1)
    opened(mine, a, 1)
    assert mine.next(1) is None


def test_nothing_opens_when_the_lifespan_has_ended_and_what_is_entered_then_comes_late() -> None:
    a, b = two()
    opening = opening_of([a, b])
    attempt = begin(opening, a)
    ending = CloseReport("App", None)
    a.schedule.end(ending)
    assert a.opened(attempt, 1) is Verdict.CAME_LATE
    a.came_late()
    a.came_late()
    assert a.state is State.CLOSED
    with pytest.raises(LifespanClosedError):
        opening_of([b]).next(1)


def test_a_lifespan_that_stands_on_another_one_ends_with_it() -> None:
    above = Schedule("App")
    below = Schedule("App", above)
    report = CloseReport("App", None)
    above.end(report)
    assert below.ended
    assert below.ending is report


def all_open(*resources: Resource) -> None:
    opening = opening_of(resources)
    for resource in resources:
        opened(opening, resource)
    assert opening.next(0) is None


def closes(closing: close.Closing[Resource], resource: Resource, limit: float | None = None) -> None:
    assert closing.next(0) == close.Close(resource)
    assert resource.begin_close(closing)
    closing.begun(resource, 0, limit, cancellable=resource.asynchronous)


def test_asynchronous_ones_close_side_by_side_each_as_soon_as_what_needs_it_has_closed() -> None:
    schedule = Schedule("App")
    a = Resource("a", schedule, asynchronous=True)
    b = Resource("b", schedule, a, asynchronous=True)
    c = Resource("c", schedule, asynchronous=True)
    all_open(a, b, c)
    closing = closing_of(schedule.opened)
    closes(closing, c)
    closes(closing, b)
    assert closing.next(0) == close.Wait(None)
    b.closed()
    closing.closed(b)
    closes(closing, a)


def test_a_closer_is_cancelled_at_its_limit_and_left_open_after_its_grace() -> None:
    a, _ = two()
    all_open(a)
    closing = closing_of([a])
    closes(closing, a, limit=10)
    assert closing.next(10) == close.CancelExit(a)
    assert closing.was_cancelled(a)
    assert closing.next(10 + limits.GRACE_SECONDS) == close.LeaveOpen(a)


def test_a_closer_in_a_thread_is_left_open_at_its_limit() -> None:
    a = Resource("a", Schedule("App"))
    opening = opening_of([a])
    attempt = begin(opening, a, cancellable=False)
    a.opened(attempt, 0)
    opening.succeeded(a)
    closing = closing_of([a])
    closes(closing, a, limit=10)
    assert closing.next(10) == close.LeaveOpen(a)


def test_what_is_interrupted_before_its_exit_is_tried_again_and_given_up_when_that_comes_to_nothing() -> None:
    """So that no defect of the library repeats a step for ever, and everything else closes."""
    a, b = two()
    all_open(a, b)
    closing = closing_of(a.schedule.opened)
    for _ in range(limits.ATTEMPTS):
        assert closing.next(0) == close.Close(b)
        assert b.begin_close(closing)
        closing.interrupted(b)
    assert closing.next(0) == close.GiveUp(b)
    b.closed()
    closing.closed(b)
    closes(closing, a)


def test_what_a_late_opening_needs_closes_after_it_or_after_its_limit() -> None:
    schedule = Schedule("App")
    a = Resource("a", schedule)
    late = Resource("late", schedule, a, close_timeout_seconds=10)
    opening = opening_of([a])
    attempt = begin(opening, a, cancellable=False)
    a.opened(attempt, 0)
    opening.succeeded(a)
    begin(opening_of([late]), late, cancellable=False)
    schedule.end()
    closing = closing_of([a], [late])
    assert closing.next(0) == close.AwaitLate(late)
    closing.late_begun(late, 0)
    assert closing.next(0) == close.Wait(10)
    assert closing.next(10) == close.LeaveLate(late)
    closing.late_ended(late)
    assert closing.next(10) == close.Close(a)


def test_each_closes_once_whoever_else_would_close_it() -> None:
    a, _ = two()
    all_open(a)
    assert a.begin_close("the first")
    assert a.begin_close("the first"), "it was interrupted, and goes on"
    assert not a.begin_close("the second")
    a.closed()
    assert not a.begin_close("the first")


def test_what_ended_by_itself_is_closed_by_whoever_comes_first() -> None:
    a, _ = two()
    all_open(a)
    a.ended()
    assert (a.state, a.in_use) == (State.CLOSING, False)
    assert a.begin_close("the first")
    assert not a.begin_close("the second")
