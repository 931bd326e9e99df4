"""What `engine.signals` rests on: handlers are the same ones, whichever of its two modules Python is asked by."""

import signal
import sys
from collections.abc import Iterator
from types import FrameType

import pytest

from prefect_lifespan.engine import signals

NUMBER = signal.SIGUSR1


class Shown:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        pass

    def __repr__(self) -> str:
        self.times += 1
        return "Shown()"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = signal.getsignal(NUMBER)
    yield
    signal.signal(NUMBER, before)


def test_a_handler_that_is_set_by_either_is_found_by_the_other() -> None:
    first, second = Shown(), Shown()
    signal.signal(NUMBER, first)
    assert signals.handler_of(NUMBER) is first
    assert signals.handle_by(NUMBER, second) is first
    assert signal.getsignal(NUMBER) is second


def test_what_is_no_handler_of_pythons_cannot_be_called() -> None:
    for default in (signal.SIG_DFL, signal.SIG_IGN):
        signal.signal(NUMBER, default)
        assert signals.handler_of(NUMBER) == default
        assert not callable(signals.handler_of(NUMBER))


def test_a_handler_is_not_shown_to_who_asks_for_it() -> None:
    shown = Shown()
    signals.handle_by(NUMBER, shown)
    assert signals.handler_of(NUMBER) is shown
    assert shown.times == 0


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 asks its constants for numbers only")
def test_the_functions_with_names_show_it() -> None:
    shown = Shown()
    signal.signal(NUMBER, shown)
    signal.getsignal(NUMBER)
    assert shown.times > 0
