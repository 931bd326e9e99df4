"""What is entered when nobody can have it any more: it is exited at once, and that is told like any other closing."""

from __future__ import annotations

from time import perf_counter

from prefect_lifespan.engine.initialiser import Entered, Outcome
from prefect_lifespan.engine.schedule.report import CloseReport, note_all
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import ResourceTimeoutError


class LateExit:
    """The exit of what was entered after its lifespan had ended, or after its opening had been given up."""

    def __init__(self, slot: Slot, entered: Entered, told: Outcome = None) -> None:
        """`told` is the outcome where no lifespan that ends has one."""
        self._slot = slot
        self._ending = slot.openings.ending or CloseReport(slot.openings.container, None)
        self.outcome = self._ending.told or told
        slot.event("opened", entered.seconds)
        self._started = perf_counter()

    def ended(self, error: BaseException | None) -> None:
        """It has been exited: an error of that reaches log and observers, and the lifespan's end while that waits."""
        told = take_closing(self._slot, self._started, None if error is self.outcome else error, self._ending)
        del told


def exit_late(slot: Slot, entered: Entered, told: Outcome = None) -> None:
    """Do that here and now, in the thread and context that it was entered in; nothing where it has been done."""
    if entered.is_left:
        return
    late = LateExit(slot, entered, told)
    error: BaseException | None = None
    try:
        entered.close(late.outcome)
    except BaseException as raised:
        error = raised
    late.ended(error)
    if error is not None and error is not late.outcome and not isinstance(error, Exception):
        raise error  # a signal goes on


def take_closing(slot: Slot, started: float, error: BaseException | None, report: CloseReport) -> BaseException | None:
    """Note in a report what came of closing a resource, and tell it."""
    outcome, failure = report.told, report.take(slot, error)
    slot.event("closed" if failure is None else "close-failed", perf_counter() - started, failure, outcome)
    return failure


def note_on_its_limit(slot: Slot, late: ResourceTimeoutError, seconds: float, error: BaseException | None) -> None:
    """What opened in `seconds`, past its limit, has been closed again: an error of that is a note, and has its line."""
    report = CloseReport(slot.openings.container, late)
    if isinstance(error, Exception) and not report.lets_through(error):
        slot.event("opened", seconds)
        take_closing(slot, perf_counter(), error, report)
        note_all(late, [error])
