"""What both drivers do for one closing; they differ in how they wait for what ends, and in what they let be exited how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import CancelledError
from concurrent.futures import Future
from time import perf_counter

from prefect_lifespan.engine.exits import record
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.places.thread import InThread
from prefect_lifespan.engine.schedule import closing as close
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.signal_safe import within


class Closer(ABC):
    """Carries out one closing."""

    def __init__(self, closing: close.Closing[Slot], report: CloseReport) -> None:
        self._closing = closing
        self._report = report
        self._started: dict[Slot, float] = {}

    def _carry_out(self, command: close.Command[Slot]) -> None:
        """Do what is to be done next, unless that is to wait."""
        match command:
            case close.Close(slot):
                self._close(slot)
            case close.CancelExit(slot) if slot.place is not None:
                slot.place.cancel_exit()
            case close.LeaveOpen(slot):
                self._closed(slot, left_open(slot))
            case close.GiveUp(slot):
                slot.closed()
                self._report.note_defect(slot)
                self._closing.closed(slot)
            case close.AwaitLate(slot):
                self._await_late(slot)
            case close.LeaveLate(slot):
                leave_late(slot, self._report)
                self._closing.late_ended(slot)
            case _:
                pass

    @abstractmethod
    def _close(self, slot: Slot) -> None:
        """Let it be exited."""

    @abstractmethod
    def _await_late(self, slot: Slot) -> None:
        """Wait for the end of its opening."""

    def _start(self, slot: Slot) -> Future[None] | None:
        """Let it be exited where it was entered; without a future that is over, and what has come of it is said."""
        try:
            if held_signals.are_held:
                # It is blocking, and nothing but a signal could interrupt it: also one that an event loop holds back.
                exiting = within(held_signals.let_through(), lambda _: start_closing(slot, self._report.told))
            else:
                exiting = start_closing(slot, self._report.told)
        except BaseException as raised:
            if is_to_be_exited(slot):
                self._report.interrupted(raised)
                self._closing.interrupted(slot)
            else:
                self._closed(slot, raised)
            return None
        if exiting is None:
            self._closed(slot, None)
        return exiting

    def _closed(self, slot: Slot, error: BaseException | None) -> None:
        record(self._report, slot, self._started[slot], error)
        self._closing.closed(slot)

    def _exit_error(self, slot: Slot, error: BaseException | None) -> BaseException | None:
        """What an exit has raised; where that was cancelled at its limit, the error of that."""
        if self._closing.was_cancelled(slot) and isinstance(error, (CancelledError, TimeoutError)):
            return ResourceTimeoutError(slot.path, "close", slot.policy.close_timeout_seconds or 0.0)
        return error


def start_closing(slot: Slot, outcome: Outcome) -> Future[None] | None:
    """Let a slot be exited where it was entered; without a future, that has been done on return."""
    assert slot.place is not None, "a slot that is open was entered"
    return slot.place.begin_exit(outcome)


def is_to_be_exited(slot: Slot) -> bool:
    """Whether its exit has not been called yet."""
    return slot.place is not None and slot.place.entered.is_held


def patience_with(slot: Slot) -> float | None:
    """Seconds that closing may take."""
    waits_behind = isinstance(slot.place, InThread) and slot.place.hangs
    return 0.0 if waits_behind else slot.policy.close_timeout_seconds


def left_open(slot: Slot) -> ResourceTimeoutError:
    """Leave behind what does not close in time."""
    waiting = [] if slot.place is None else slot.place.leave_open()
    return ResourceTimeoutError(slot.path, "close", slot.policy.close_timeout_seconds or 0.0, waiting)


def leave_late(slot: Slot, report: CloseReport) -> None:
    """Wait no longer for one that is still opening: an error of closing. When it is open after all, it closes by itself."""
    late = ResourceTimeoutError(slot.path, "open", slot.policy.close_timeout_seconds or 0.0)
    report.raising.append(late)
    seconds = 0.0 if slot.claim is None else slot.claim.attempt.seconds(perf_counter())
    slot.event("open-failed", seconds, late)
