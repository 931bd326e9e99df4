"""A signal's exception at any line of what hears of a run: what happens after that is heard, and nothing waits for a lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from prefect_lifespan.engine import Event, Observers
from prefect_lifespan.observability.picture import Picture
from prefect_lifespan.observability.uses import Uses


class Interrupted(BaseException):
    """What a signal's handler raises."""


def interrupted_at(number: int, function: Callable[[], object], file: str) -> bool:
    """Call a function, and raise at a line of that number in a file of the library; whether it has so many."""
    count = 0

    def local(_: Any, event: str, __: object) -> Any:
        nonlocal count
        count += event == "line"
        if count == number:
            count += 1  # once
            raise Interrupted
        return local

    sys.settrace(lambda frame, *_: local if frame.f_code.co_filename.endswith(file) else None)
    try:
        function()
    except Interrupted:
        return True
    finally:
        sys.settrace(None)
    return False


def returns(function: Callable[[], object]) -> bool:
    """Whether a call in another thread comes back."""
    calling = threading.Thread(target=function, daemon=True)
    calling.start()
    calling.join(20)
    return not calling.is_alive()


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
