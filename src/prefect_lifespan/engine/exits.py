"""A resource has closed: its error is kept for the end of the lifespan, and its line is written."""

from __future__ import annotations

from time import perf_counter

from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.slot import Slot


def record(report: CloseReport, slot: Slot, started: float, error: BaseException | None) -> None:
    """A resource has closed, with an error or without."""
    outcome, failure = report.told, report.note(slot, error)
    slot.closed()  # after its error is kept: until then an interruption lets it be closed again
    slot.event("closed" if failure is None else "close-failed", perf_counter() - started, failure, outcome)


def take(report: CloseReport, slot: Slot, started: float, error: BaseException | None) -> None:
    """What came of closing a resource, whatever has become of its slot since."""
    outcome, failure = report.told, report.note(slot, error)
    slot.event("closed" if failure is None else "close-failed", perf_counter() - started, failure, outcome)
