"""Resources that are nothing but data, for schedules that do nothing but decide."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from prefect_lifespan.engine.schedule.limits import OwnTime
from prefect_lifespan.lifetimes import Policy


class Thing:
    """What a schedule knows of a resource: its name, its limits, its stop-watch; and what it needs."""

    def __init__(self, number: int, needs: list[Thing], policy: Policy, *, side_by_side: bool) -> None:
        self.path = f"App.r{number}"
        self.number = number
        self.needs = needs
        self.policy = policy
        self.own_time = OwnTime()
        self.side_by_side = side_by_side

    def __repr__(self) -> str:
        return self.path


def needs_of(thing: Thing) -> list[Thing]:
    return thing.needs


def is_side_by_side(thing: Thing) -> bool:
    return thing.side_by_side


def chain(count: int, **policy: Any) -> list[Thing]:
    """Things that each need the one before."""
    things: list[Thing] = []
    for number in range(count):
        things.append(Thing(number, things[-1:], Policy(**policy), side_by_side=False))
    return things


def apart(count: int, *, side_by_side: bool = True, **policy: Any) -> list[Thing]:
    """Things that need nothing."""
    return [Thing(number, [], Policy(**policy), side_by_side=side_by_side) for number in range(count)]


LIMIT, CLOSE_LIMIT = 5.0, 8.0


@st.composite
def things(draw: st.DrawFn) -> list[Thing]:
    """A graph of them, dependencies first."""
    made: list[Thing] = []
    for number in range(draw(st.integers(1, 7))):
        needs = (
            [made[index] for index in sorted(draw(st.sets(st.integers(0, number - 1), max_size=3)))] if number else []
        )
        policy = Policy(
            open_timeout_seconds=draw(st.sampled_from([None, LIMIT])),
            close_timeout_seconds=CLOSE_LIMIT,
            retries=draw(st.integers(0, 2)),
            retry_delay_seconds=1.0,
        )
        made.append(Thing(number, needs, policy, side_by_side=draw(st.booleans())))
    return made
