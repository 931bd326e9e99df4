"""Over random graphs, endings and interleavings: the promises about opening and closing hold in the schedule alone.

There is no thread, no event loop and no clock, so that thousands of them take seconds.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_lifespan.engine.schedule import opening as open_
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.standing import Schedule, Verdict
from prefect_lifespan.engine.schedule.states import State
from tests.engine.scheduled import MOST_STEPS, Resource, World, opening_of

WAYS = ["opens", "opens", "fails", "hangs"]
GRAPHS = st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 9), max_size=3)), min_size=1, max_size=10)
DICE = st.integers(0, 2**32).map(random.Random)
STEPS = st.one_of(st.just(MOST_STEPS), st.integers(0, 30))


def resources_of(graph: list[tuple[bool, set[int]]], **policy: Any) -> list[Resource]:
    """Nodes that need earlier ones."""
    schedule = Schedule("App")
    made: list[Resource] = []
    for number, (asynchronous, needs) in enumerate(graph):
        needed = [made[index] for index in sorted(needs) if index < number]
        made.append(Resource(f"r{number}", schedule, *needed, asynchronous=asynchronous, **policy))
    return made


@settings(max_examples=300, deadline=None)
@given(GRAPHS, DICE, st.integers(1, 3), st.integers(0, 2), STEPS)
def test_an_opening_ends_with_all_of_it_open_or_with_one_failure(
    graph: list[tuple[bool, set[int]]], dice: random.Random, at_most: int, retries: int, interrupted_after: int
) -> None:
    resources = resources_of(
        graph, open_timeout_seconds=0.5, close_timeout_seconds=1, retries=retries, retry_delay_seconds=0.1
    )
    world = World(dice, WAYS)
    opening = opening_of(resources, at_most=at_most)
    world.open_all(opening, interrupted_after=interrupted_after)
    assert not opening.unfinished
    assert not resources[0].schedule.opening
    states = {resource.state for resource in resources}
    if opening.failure is None:
        assert states == {State.OPEN}
    else:
        assert states <= {State.OPEN, State.PENDING}
    for resource in resources:
        assert resource.in_use == (resource.state is State.OPEN)
        assert resource.kinds.count("open-retried") <= retries
        assert resource.kinds.count("open-failed") <= 1
    kept = world.entered.copy()
    for resource in world.exited:
        kept.remove(resource)
    assert sorted(map(repr, kept)) == sorted(repr(r) for r in resources if r.state is State.OPEN)
    world.let_what_was_left_behind_enter()


@settings(max_examples=300, deadline=None)
@given(GRAPHS, DICE, st.booleans(), STEPS)
def test_closing_closes_exactly_what_is_open_once_in_order_whatever_fails_hangs_or_interrupts(
    graph: list[tuple[bool, set[int]]], dice: random.Random, hanging: bool, interrupted_after: int
) -> None:
    resources = resources_of(graph, close_timeout_seconds=1, on_close_error="raise")
    schedule = resources[0].schedule
    world = World(dice, ["opens"])
    world.open_all(opening_of(resources, at_most=2))
    world.ways = WAYS
    report = CloseReport("App", None)
    world.close_all(schedule, report, hanging=hanging, interrupted_after=interrupted_after)
    assert all(resource.state is State.CLOSED for resource in resources)
    assert Counter(world.exited) == Counter(resources)
    failed = sum(world.way(resource) == "fails" for resource in resources)
    assert len(report.raising) >= failed, "no error is lost"


@settings(max_examples=200, deadline=None)
@given(GRAPHS, DICE, st.integers(0, 12))
def test_what_is_entered_when_the_lifespan_has_ended_closes_at_once_and_nothing_more_begins(
    graph: list[tuple[bool, set[int]]], dice: random.Random, ended_after: int
) -> None:
    resources = resources_of(graph, close_timeout_seconds=1)
    schedule = resources[0].schedule

    class Ending(World):
        ends = 0

        def end(self, opening: Any, resource: Resource) -> None:
            self.ends += 1
            if self.ends > ended_after:
                schedule.end(CloseReport("App", None))
            super().end(opening, resource)

    world = Ending(dice, ["opens"])
    opening = opening_of(resources, at_most=2)
    try:
        world.open_all(opening)
    except Exception as error:  # it asks for one more, and is told so
        opening.wind_down(error, world.now)
        world.open_all(opening)
    verdicts = [verdict for told in world.told.values() for verdict in told]
    assert verdicts.count(Verdict.STAYS) <= ended_after
    assert not schedule.opening
    if any(resource.state is not State.OPEN for resource in resources):
        assert opening.failure is not None


@settings(max_examples=200, deadline=None)
@given(GRAPHS, DICE, st.sampled_from([["opens"], WAYS]))
def test_two_that_open_the_same_at_the_same_time_open_each_once_and_both_hear_how_it_ended(
    graph: list[tuple[bool, set[int]]], dice: random.Random, ways: list[str]
) -> None:
    limit = 0.5 if "hangs" in ways else None
    resources = resources_of(graph, open_timeout_seconds=limit, close_timeout_seconds=1)
    world = World(dice, ways)
    openings = [opening_of(resources), opening_of(resources)]
    awaited: list[set[Resource]] = [set(), set()]
    going_on = [0, 1]
    for _ in range(MOST_STEPS):
        if not going_on:
            break
        turn = dice.choice(going_on)
        opening = openings[turn]
        match opening.next(world.now):
            case None:
                going_on.remove(turn)
            case open_.Open(resource, claim):
                assert resource not in world.trying
                world.trying[resource] = claim.attempt, False
                opening.begun(resource, world.now, cancellable=resource.asynchronous)
            case open_.Await(resource):
                awaited[turn].add(resource)
            case open_.Cancel(resource):
                world.trying[resource] = world.trying[resource][0], True
            case open_.LeaveBehind(resource):
                world.left.append((resource, world.trying.pop(resource)[0]))
            case open_.Wait(until):
                wait_for_one(world, opening, awaited[turn], until)
    assert not going_on, "no progress"
    stays = Counter(r for r, told in world.told.items() for verdict in told if verdict is Verdict.STAYS)
    assert all(count == 1 for count in stays.values())
    assert not any(opening.unfinished for opening in openings)
    if ways == ["opens"]:
        assert all(resource.state is State.OPEN for resource in resources)


def wait_for_one(world: World, opening: Any, awaited: set[Resource], until: float | None) -> None:
    """What somebody else was opening has ended, or one of its own has, or time passes."""
    ended = sorted((resource for resource in awaited if resource.state is not State.OPENING), key=repr)
    mine = [resource for resource in opening.unfinished if resource in world.trying]
    ready = [resource for resource in mine if world.way(resource) != "hangs" or world.trying[resource][1]]
    if ended:
        awaited.discard(ended[0])
        opening.ended_elsewhere(ended[0], ended[0].failure if ended[0].state is State.PENDING else None, world.now)
    elif ready:
        world.end(opening, world.dice.choice(ready))
    elif until is not None:
        world.now = max(world.now, until)
