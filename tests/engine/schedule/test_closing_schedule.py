"""The schedule of a closer on its own, by cases."""

from typing import Any

from prefect_lifespan.engine.schedule.closing import ClosingSchedule
from prefect_lifespan.engine.schedule.commands import Done, Exit, GiveUp, GiveUpOpening, Wait
from tests.engine.schedule.support import Thing, apart, chain, is_side_by_side, needs_of


def schedule_of(opened: list[Thing], opening: list[Thing] | None = None) -> ClosingSchedule[Thing]:
    return ClosingSchedule(opened, needs_of, side_by_side=is_side_by_side, opening=opening or (), now=0.0)


def order(schedule: ClosingSchedule[Thing]) -> list[Thing]:
    """What is exited, where each has closed at once."""
    closed: list[Thing] = []
    while isinstance(command := schedule.next(0), Exit):
        closed.append(command.resource)
        schedule.closed(command.resource)
    assert command == Done()
    return closed


def test_what_closes_one_after_another_closes_last_opened_first() -> None:
    things = apart(4, side_by_side=False)
    assert order(schedule_of(things)) == things[::-1]


def test_what_can_closes_side_by_side_and_what_it_needs_after_it() -> None:
    a, b, c = chain(3)
    d = apart(1)[0]
    for thing in (a, b, c):
        thing.side_by_side = True
    schedule = schedule_of([a, b, c, d])
    assert schedule.next(0) == Exit(d)
    schedule.begun(d, None, 0)
    assert schedule.next(0) == Exit(c)
    schedule.begun(c, None, 0)
    assert schedule.next(0) == Wait(None)
    schedule.closed(c)
    assert schedule.next(0) == Exit(b)


def test_one_that_closes_in_its_turn_waits_for_all_that_was_opened_later() -> None:
    blocking, late = apart(1, side_by_side=False)[0], apart(1)[0]
    schedule = schedule_of([blocking, late])
    assert schedule.next(0) == Exit(late)
    schedule.begun(late, None, 0)
    assert schedule.next(0) == Wait(None)
    schedule.closed(late)
    assert schedule.next(0) == Exit(blocking)


def test_a_command_is_given_until_it_has_been_carried_out() -> None:
    """Whoever carries it out may be interrupted before it comes to that."""
    things: list[Any] = [apart(1)[0], apart(1, side_by_side=False)[0]]
    schedule = schedule_of(things)
    for thing in (things[0], things[1]):
        assert schedule.next(0) == schedule.next(0) == Exit(thing)
        schedule.closed(thing)
    assert schedule.next(0) == schedule.next(0) == Done()


def test_an_exit_that_was_interrupted_before_it_was_called_is_called_again() -> None:
    (thing,) = apart(1)
    schedule = schedule_of([thing])
    schedule.begun(thing, None, 0)
    schedule.not_begun(thing)
    assert schedule.next(0) == Exit(thing)


def test_what_takes_too_long_is_given_up_and_what_it_needs_closes() -> None:
    a, b = chain(2)
    schedule = schedule_of([a, b])
    schedule.begun(b, 3.0, 1.0)
    assert schedule.next(1) == Wait(3.0)
    assert schedule.next(4) == schedule.next(4) == GiveUp(b)
    schedule.closed(b)
    assert schedule.next(4) == Exit(a)


def test_an_opening_that_is_under_way_is_a_user_of_what_it_needs_until_it_ends_or_is_given_up() -> None:
    for ends in (True, False):
        a, b = chain(2, close_timeout_seconds=3.0)
        schedule = schedule_of([a], [b])
        assert schedule.next(0) == Wait(3.0)
        if not ends:
            assert schedule.next(3) == GiveUpOpening(b)
        schedule.opening_ended(b)
        assert schedule.next(3) == Exit(a)
        schedule.closed(a)
        assert schedule.next(3) == Done()


def test_closing_waits_for_an_opening_that_needs_nothing_as_well() -> None:
    (late,) = apart(1, close_timeout_seconds=3.0)
    schedule = schedule_of([], [late])
    assert schedule.next(0) == Wait(3.0)
    schedule.opening_ended(late)
    assert schedule.next(0) == Done()


def test_what_is_told_twice_counts_once() -> None:
    a, b = chain(2)
    c = Thing(2, [a], a.policy, side_by_side=True)
    schedule = schedule_of([a, b, c])
    schedule.closed(b)
    schedule.closed(b)
    a.side_by_side = True
    assert schedule.next(0) == Exit(c)


def test_a_user_that_was_opened_before_what_it_needs_is_no_reason_to_wait_for_ever() -> None:
    a, b = chain(2)
    assert order(schedule_of([b, a])) == [a, b]
