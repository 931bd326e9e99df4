"""The schedule of an opener on its own, by cases: no thread, no event loop, and the time is what the test says it is."""

from typing import Any

import pytest

from prefect_lifespan.engine.schedule.commands import Done, Enter, Failed, Leave, Remedy, Stop, Wait
from prefect_lifespan.engine.schedule.limits import GRACE_SECONDS
from prefect_lifespan.engine.schedule.opening import OpeningSchedule
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError
from tests.engine.schedule.support import Thing, apart, chain, is_side_by_side, needs_of


class Cancelled(BaseException):
    """What stopping makes an opening raise."""


def schedule_of(things: list[Thing], **options: Any) -> OpeningSchedule[Thing]:
    settings = {"at_once": 1, "others_take_turns": False, "given_up": Cancelled, "side_by_side": is_side_by_side}
    return OpeningSchedule(things, needs_of, **{**settings, **options})


def commands(schedule: OpeningSchedule[Thing], now: float = 0.0) -> list[Any]:
    """All up to the first that says to wait, or that nothing is left to do."""
    given = [schedule.next(now)]
    while not isinstance(given[-1], (Wait, Done)):
        given.append(schedule.next(now))
    return given


def test_what_is_needed_is_entered_before_what_needs_it() -> None:
    a, b = chain(2)
    schedule = schedule_of([b, a])
    assert schedule.next(0) == Enter(a)
    assert schedule.entered(a, 1) is None
    schedule.opened(a)
    assert schedule.next(1) == Enter(b)
    schedule.opened(b)
    assert schedule.next(2) == Done()
    assert schedule.failure is None


def test_what_can_is_entered_side_by_side_and_of_the_rest_as_many_as_may_be() -> None:
    one, two = apart(2)
    three, four, five = apart(3, side_by_side=False)
    schedule = schedule_of([one, three, four, two, five], at_once=2)
    entered = [schedule.next(0) for _ in range(4)]
    assert entered == [Enter(one), Enter(two), Enter(three), Enter(four)]
    assert schedule.next(0) == Wait(None)
    schedule.opened(three)
    assert commands(schedule) == [Enter(five), Wait(None)]


def test_another_openers_work_takes_a_turn_only_where_that_is_said() -> None:
    for takes, follows in ((True, [Wait(None)]), (False, ["Enter", Wait(None)])):
        one, two = apart(2, side_by_side=False)
        schedule = schedule_of([one, two], others_take_turns=takes)
        schedule.next(0)
        schedule.elsewhere(one)
        assert commands(schedule) == [Enter(two) if each == "Enter" else each for each in follows]


def test_one_that_another_opener_gave_up_is_entered_by_this_one_before_its_others() -> None:
    one, two = apart(2, side_by_side=False)
    schedule = schedule_of([one, two], others_take_turns=True)
    schedule.next(0)
    schedule.elsewhere(one)
    schedule.freed(one)
    assert schedule.next(0) == Enter(one)


def test_a_failure_is_tried_again_after_its_delay_in_the_same_turn_as_often_as_its_policy_says() -> None:
    one, two = apart(2, side_by_side=False, retries=1, retry_delay_seconds=3.0)
    schedule = schedule_of([one, two])
    schedule.next(0)
    error = OSError()
    assert schedule.failed(one, error, 1) == Failed("open-retried", error)
    assert schedule.next(1) == Wait(3.0)
    assert schedule.next(4) == Enter(one)
    assert schedule.failed(one, error, 5) == Failed("open-failed", error)
    assert (schedule.next(5), schedule.failure) == (Done(), error)


@pytest.mark.parametrize("remedy", [Remedy.LEAVE, Remedy.STOP])
def test_after_a_failure_nothing_is_entered_and_what_is_under_way_comes_to_its_end(remedy: Remedy) -> None:
    one, two, three = apart(2, close_timeout_seconds=8.0) + apart(1, side_by_side=False)
    schedule = schedule_of([one, two, three], at_once=1)
    schedule.next(0)
    schedule.begun(one, remedy, 0)
    schedule.next(0)
    schedule.begun(two, remedy, 0)
    error = OSError()
    schedule.failed(one, error, 1)
    assert (
        commands(schedule, 1) == [Stop(two, for_its_limit=False), Wait(8.0)] if remedy is Remedy.STOP else [Wait(8.0)]
    )
    schedule.failed(two, Cancelled(), 2, stopped=True)
    assert (schedule.next(2), schedule.failure) == (Done(), error)


def test_what_opens_although_it_was_told_to_stop_is_open() -> None:
    (one,) = apart(1, close_timeout_seconds=8.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.STOP, 0)
    cancelled = Cancelled()
    schedule.interrupted(cancelled, 1)
    assert schedule.next(1) == Stop(one, for_its_limit=False)
    assert schedule.entered(one, 2) is None
    schedule.opened(one)
    assert (schedule.next(2), schedule.failure) == (Done(), cancelled)


def test_one_that_ignores_being_stopped_is_told_twice_and_left_behind_after_its_grace() -> None:
    (one,) = apart(1, close_timeout_seconds=8.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.STOP, 0)
    schedule.interrupted(Cancelled(), 0)
    assert commands(schedule, 0) == [Stop(one, for_its_limit=False), Wait(8.0)]
    assert commands(schedule, 8) == [Stop(one, for_its_limit=False), Wait(GRACE_SECONDS)]
    left = schedule.next(8 + GRACE_SECONDS)
    assert isinstance(left, Leave)
    assert isinstance(left.error, ResourceTimeoutError)
    schedule.failed(one, left.error, 9, again=left.again)
    assert schedule.next(9) == Done()


def test_a_limit_stops_what_can_be_stopped_and_leaves_behind_what_does_not_end_by_it() -> None:
    (one,) = apart(1, open_timeout_seconds=5.0, retries=1)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.STOP, 0)
    assert schedule.next(0) == Wait(5.0)
    assert commands(schedule, 5) == [Stop(one, for_its_limit=True), Wait(GRACE_SECONDS)]
    left = schedule.next(5 + GRACE_SECONDS)
    assert isinstance(left, Leave)
    assert not left.again, "it may still be at it"


def test_what_ends_by_being_stopped_at_its_limit_is_a_timeout_with_that_as_its_cause_and_is_tried_again() -> None:
    (one,) = apart(1, open_timeout_seconds=5.0, retries=1, retry_delay_seconds=0.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.STOP, 0)
    schedule.next(5)
    cancelled = Cancelled()
    failed = schedule.failed(one, cancelled, 5, stopped=True)
    assert failed.kind == "open-retried"
    assert isinstance(failed.error, ResourceTimeoutError)
    assert failed.error.__cause__ is cancelled
    assert schedule.next(5) == Enter(one)


def test_what_opens_although_its_limit_has_stopped_it_is_to_be_exited_and_is_a_timeout() -> None:
    (one,) = apart(1, open_timeout_seconds=5.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.STOP, 0)
    schedule.next(5)
    late = schedule.entered(one, 6)
    assert isinstance(late, ResourceTimeoutError)
    schedule.exiting(one, 6)
    assert schedule.next(6) == Wait(None)
    schedule.failed(one, late, 7)
    assert (schedule.next(7), schedule.failure) == (Done(), late)


@pytest.mark.parametrize(("took", "is_late"), [(4.9, False), (5.1, True)])
def test_where_nothing_can_be_done_meanwhile_the_limit_is_looked_at_in_the_end(took: float, is_late: bool) -> None:
    (one,) = apart(1, open_timeout_seconds=5.0)
    schedule = schedule_of([one])
    schedule.next(0)
    assert (schedule.entered(one, took) is not None) == is_late


def test_a_thread_past_its_limit_is_left_behind_and_another_attempt_may_follow() -> None:
    (one,) = apart(1, open_timeout_seconds=5.0, retries=1, retry_delay_seconds=0.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.LEAVE, 0)
    left = schedule.next(5)
    assert isinstance(left, Leave)
    assert left.again
    schedule.failed(one, left.error, 5, again=left.again)
    assert schedule.next(5) == Enter(one)


def test_a_stop_watch_that_stands_still_puts_the_limit_off() -> None:
    (one,) = apart(1, open_timeout_seconds=5.0)
    schedule = schedule_of([one])
    schedule.next(0)
    schedule.begun(one, Remedy.LEAVE, 0)
    one.own_time.pause(1)
    assert isinstance(schedule.next(5), Wait)
    one.own_time.resume(11)
    assert isinstance(schedule.next(14), Wait)
    assert isinstance(schedule.next(15), Leave)


def test_a_cancellation_that_arrives_after_a_failure_goes_on_with_that_as_its_cause() -> None:
    (one,) = apart(1)
    schedule = schedule_of([one])
    schedule.next(0)
    error, cancelled = OSError(), Cancelled()
    schedule.failed(one, error, 0)
    schedule.interrupted(cancelled, 0)
    assert (schedule.failure, cancelled.__cause__) == (cancelled, error)


def test_what_moves_to_another_place_gives_its_turn_back_and_has_its_whole_limit_there() -> None:
    one, two = apart(2, side_by_side=False, open_timeout_seconds=5.0)
    schedule = schedule_of([one, two])
    schedule.next(0)
    schedule.moved(one, Remedy.STOP, 3)
    assert commands(schedule, 3) == [Enter(two), Wait(5.0)]


def test_what_can_never_open_is_an_error_and_not_an_endless_wait() -> None:
    a, b = apart(2)
    a.needs, b.needs = [b], [a]
    with pytest.raises(LifespanError, match=r"App\.r0, App\.r1 can never open"):
        schedule_of([a, b]).next(0)
