"""What becomes of a resource in the instant in which it has been entered: it stays open, or is exited at once.

That is so where its lifespan has ended meanwhile, where it took too long, and where nobody waits for it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from prefect_lifespan.engine.exits import take
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.schedule.claim import Attempt
from prefect_lifespan.engine.schedule.report import CloseReport, note_all
from prefect_lifespan.engine.schedule.standing import Verdict
from prefect_lifespan.engine.slot import Place, Slot, being_opened

T = TypeVar("T")


class ExitAtOnce:
    """What has been entered is exited at once, by whoever has entered it.

    An error of that reaches the log and observers, and the end of the lifespan where that still waits for it.
    """

    def __init__(self, slot: Slot, place: Place, attempt: Attempt, verdict: Verdict, because: Outcome) -> None:
        self._slot = slot
        self._verdict = verdict
        self._seconds = attempt.seconds(place.entered.at)
        self._ending = slot.schedule.ending or CloseReport(slot.schedule.container, None)
        if verdict is Verdict.TOOK_TOO_LONG:
            self._ending = CloseReport(slot.schedule.container, attempt.timeout())
            self._error: BaseException | None = self._ending.outcome
        else:
            self._error = attempt.given_up
            slot.event("opened", self._seconds)
        self.told: Outcome = self._ending.told or attempt.given_up or because
        self._started = perf_counter()

    def ended(self, error: BaseException | None) -> BaseException:
        """It has been exited, with an error or without; gives what whoever asked for it is to see."""
        slot, ending = self._slot, self._ending
        if error is self.told:
            error = None
        if self._verdict is not Verdict.TOOK_TOO_LONG:
            take(ending, slot, self._started, error)
        elif error is not None and not ending.lets_through(error):
            slot.event("opened", self._seconds)
            take(ending, slot, perf_counter(), error)
            if ending.outcome is not None and isinstance(error, Exception):
                note_all(ending.outcome, [error])
        if self._verdict is Verdict.CAME_LATE:
            slot.came_late()
            self._error = slot.closed_error()
            self._error.__cause__ = error
        if error is not None and not isinstance(error, Exception):
            return error  # a signal
        assert self._error is not None, "it has been left behind with an error"
        return self._error


def exit_at_once(slot: Slot, place: Place, attempt: Attempt, because: Outcome = None) -> ExitAtOnce | None:
    """How what has been entered is to be exited at once; None where it stays, and is open."""
    verdict = slot.opened(attempt, place.entered.at)
    if verdict is Verdict.STAYS:
        return None
    return ExitAtOnce(slot, place, attempt, verdict, because)


def stay(slot: Slot, place: Place, attempt: Attempt, because: Outcome = None) -> None:
    """What has been entered is open, or is exited at once, in the thread and context that it was entered in.

    Raises:
        LifespanClosedError: its lifespan has ended.
        ResourceTimeoutError: it took too long.
        BaseException: what whoever waited for it was told when they stopped.
    """
    leaving = exit_at_once(slot, place, attempt, because)
    if leaving is None:
        slot.event("opened", attempt.seconds(place.entered.at))
        return
    error: BaseException | None = None
    try:
        place.entered.close(leaving.told)
    except BaseException as raised:
        error = raised
    raise leaving.ended(error)


def while_opening(slot: Slot, function: Callable[[], T]) -> T:
    """What `function` returns that opens `slot`, as what it asks for can tell."""
    outer = being_opened.get()
    try:
        try:
            being_opened.set((*outer, slot))
            return function()
        finally:
            being_opened.set(outer)
    finally:  # where a signal has interrupted that
        being_opened.set(outer)
