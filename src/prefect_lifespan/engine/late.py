"""What is still opening when its lifespan ends, and takes longer than closing may wait for it."""

from __future__ import annotations

from time import perf_counter

from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import ResourceTimeoutError


def leave_late(slot: Slot, report: CloseReport) -> None:
    """Wait no longer for one of them: an error of closing. When it is open after all, it closes by itself."""
    late = ResourceTimeoutError(slot.path, "open", slot.policy.close_timeout_seconds or 0.0)
    report.raising.append(late)
    seconds = 0.0 if slot.claim is None else slot.claim.attempt.clock.seconds(perf_counter())
    slot.event("open-failed", seconds, late)
