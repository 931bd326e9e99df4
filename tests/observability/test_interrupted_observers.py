"""A signal's exception at any line of what hears of a run: what happens after that is heard, and nothing waits for a lock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prefect_lifespan.engine import Event, Observers
from prefect_lifespan.observability.picture import Picture
from prefect_lifespan.observability.uses import Uses
from tests.interrupting import interrupted_at, returns


def opened() -> Event:
    return Event("opened", "App", "db", 0.1)


def heard_by_a_picture() -> tuple[Callable[[], object], str]:
    picture = Picture("App", "a run", "")
    return lambda: picture(opened()), "observability/picture.py"


def the_end_of_a_picture() -> tuple[Callable[[], object], str]:
    picture = Picture("App", "a run", "")
    return lambda: picture.ended("ended well", None, []), "observability/picture.py"


def counted() -> tuple[Callable[[], object], str]:
    uses = Uses()
    return uses.counted, "observability/uses.py"


def one_more_observer() -> tuple[Callable[[], object], str]:
    observers = Observers()

    def add_and_remove() -> None:
        observers.add(print)
        observers.remove(print)

    return add_and_remove, "engine/events.py"


@pytest.mark.parametrize("made", [heard_by_a_picture, the_end_of_a_picture, counted, one_more_observer])
def test_what_was_interrupted_at_any_line_can_be_called_again(
    made: Callable[[], tuple[Callable[[], object], str]],
) -> None:
    number = 1
    while interrupted_at(number, (call := made())[0], call[1]):
        assert returns(call[0]), f"line {number} leaves a lock taken"
        number += 1
    assert number > 1
