"""The driver without an event loop: it opens and closes in the calling thread, or lets threads do so and waits for them.

What is done when is the schedule's; here it is carried out, and what has come of it is said.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any

from prefect_lifespan.engine.closer import Closer, patience_with
from prefect_lifespan.engine.initialiser import NeedsEventLoop
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.persistence import persist
from prefect_lifespan.engine.places.here import Here
from prefect_lifespan.engine.places.task import InTask
from prefect_lifespan.engine.places.thread import InThread
from prefect_lifespan.engine.schedule import closing as close
from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule import opening as open_
from prefect_lifespan.engine.schedule.claim import Claim
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.standing import Abandoned
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Needs, SharedSchedule, Slot
from prefect_lifespan.errors import AsyncResourceError

Ended = queue.SimpleQueue[Future[Any]]


def open_in_order(slots: Iterable[Slot], where: str, *, in_callers_context: SharedSchedule | None = None) -> None:
    """Open slots one after another, in the given order: dependencies first.

    Context variables that an initialiser sets are the caller's where its slot is of the schedule `in_callers_context`,
    which whoever also closes that gives; else each initialiser has a context of its own, and its closer runs in the same.

    Raises:
        AsyncResourceError: one turned out to be asynchronous.
        LifespanClosedError: one has closed.
        Exception: an initialiser's own.
    """
    opening = open_.Opening(slots, thread=threading.get_ident())
    _Opener(opening, where, in_callers_context=in_callers_context).run()


def open_in_threads(schedule: SharedSchedule, slots: Iterable[Slot], needs: Needs, where: str) -> None:
    """Open slots in up to `max_workers` threads at a time, each as soon as what it needs is open; raises the same."""
    opening = open_.Opening(slots, needs, at_most=schedule.max_workers, thread=threading.get_ident())
    schedule.threads.without_turn(_Opener(opening, where, in_threads=True).run)


class _Opener:
    """Carries out one opening."""

    def __init__(
        self,
        opening: open_.Opening[Slot],
        where: str,
        *,
        in_callers_context: SharedSchedule | None = None,
        in_threads: bool = False,
    ) -> None:
        self._opening = opening
        self._where = where
        self._in_callers_context = in_callers_context
        self._in_threads = in_threads
        self._on_loop = running_loop() is not None
        self._ended: Ended = queue.SimpleQueue()
        # What is waited for: an attempt of this call's with its place, or without one an opening that somebody else is at.
        self._at: dict[Future[Any], tuple[Slot, InThread | None]] = {}
        self._places: dict[Slot, InThread] = {}

    def run(self) -> None:
        try:
            try:
                self._drive()
            except BaseException as error:
                self._end(error)
                raise
        except BaseException as error:  # perhaps a signal that has interrupted that
            self._end(error)
            raise
        if self._opening.failure is not None:
            raise self._opening.failure

    def _drive(self) -> None:
        while (command := self._opening.next(perf_counter())) is not None:
            match command:
                case open_.Open(slot, claim):
                    self._open(slot, claim)
                case open_.Await(slot):
                    self._await(slot)
                case open_.Cancel(slot):
                    if slot in self._places and self._places[slot].cancel():
                        self._opening.refused(slot, self._opening.failure or Abandoned())
                case open_.LeaveBehind(slot):
                    self._places.pop(slot).leave_behind()
                case open_.Wait(until):
                    self._wait(until)

    def _open(self, slot: Slot, claim: Claim) -> None:
        thread = None if self._in_threads else slot.schedule.threads.current()
        if thread is None and slot.schedule.at_home and not self._in_threads:
            in_callers_context = slot.schedule is self._in_callers_context
            here = slot.place = Here(slot, claim.attempt, on_loop=self._on_loop, in_callers_context=in_callers_context)
            self._enter(slot, here.enter)
            return
        place = slot.place = InThread(slot, claim.attempt, on_loop=False)
        if thread is not None:
            self._enter(slot, partial(place.enter_in, thread))
            return
        self._places[slot] = place
        self._opening.begun(slot, perf_counter(), cancellable=False)
        self._watch(slot, place)
        place.begin()

    def _enter(self, slot: Slot, enter: Callable[[], None]) -> None:
        """Enter it in this thread, and say what has come of it."""
        try:
            enter()
        except NeedsEventLoop as needs:
            self._needs_loop(slot, needs)
        except BaseException as error:
            settle(slot, error, fails=False)
            self._opening.failed(slot, error, perf_counter())
        else:
            self._opening.succeeded(slot)

    def _needs_loop(self, slot: Slot, needs: NeedsEventLoop) -> None:
        needs.discard()
        slot.asynchronous = True
        error = AsyncResourceError([slot.path], self._where, on_loop=self._on_loop)
        self._opening.refused(slot, error)
        self._opening.wind_down(error, perf_counter())

    def _await(self, slot: Slot) -> None:
        settle_left_here(slot)
        waiter = slot.waiter()
        if waiter is None:
            self._opening.ended_elsewhere(slot, None, perf_counter())
        elif not waiter.done() and slot.opened_on is not None and slot.opened_on is running_loop():
            # Waiting would keep the loop from ever opening it.
            raise AsyncResourceError([slot.path], self._where, on_loop=True)
        else:
            self._at[waiter] = slot, None
            waiter.add_done_callback(self._ended.put)

    def _watch(self, slot: Slot, place: InThread) -> None:
        self._at[place.entering] = slot, place
        place.entering.add_done_callback(self._ended.put)

    def _wait(self, until: float | None) -> None:
        ended = wait_for(self._ended, until)
        slot, place = (None, None) if ended is None else self._at.pop(ended, (None, None))
        if ended is None or slot is None:
            return
        now = perf_counter()
        if place is None:
            self._opening.ended_elsewhere(slot, ended.exception(), now)
        elif self._places.get(slot) is not place:
            return  # it has been left behind
        elif ended.cancelled():
            self._opening.refused(slot, self._opening.failure or Abandoned())
        elif (error := ended.exception()) is None:
            self._opening.succeeded(slot)
        elif isinstance(error, NeedsEventLoop):
            self._needs_loop(slot, error)
        else:
            self._opening.failed(slot, error, now)

    def _end(self, error: BaseException) -> None:
        """End what `error` has interrupted: what has been entered is open, everything else has failed, all are told."""
        for _ in range(limits.ATTEMPTS):
            with suppress(BaseException):  # one more signal: the first one goes on
                self._wind_down(error)
                self._drive()
                return
        for slot in self._opening.unfinished:
            settle(slot, error)

    def _wind_down(self, error: BaseException) -> None:
        self._opening.wind_down(error, perf_counter())
        for slot in self._opening.unfinished:
            place = self._places.get(slot)
            if place is None:
                settle(slot, error)
                self._opening.refused(slot, error)
            else:
                self._watch(slot, place)


def wait_for(ended: Ended, until: float | None) -> Future[Any] | None:
    """What has ended next; None where nothing has until then."""
    try:
        return ended.get(timeout=None if until is None else max(until - perf_counter(), 0.0))
    except queue.Empty:
        return None


def settle(slot: Slot, error: BaseException, *, fails: bool = True) -> None:
    """End an opening that `error` has interrupted: what has been entered is open, everything else has failed.

    Where the lifespan has ended meanwhile, it closes at once. Doing it again does nothing. Whoever goes on to say that it
    has failed says so here.
    """
    place, claim = slot.place, slot.claim
    if slot.state is State.OPENING and claim is not None:
        if isinstance(place, Here):
            with suppress(Exception):  # the log and observers have heard of it, and the lifespan's end
                place.settle(error)
        if fails and slot.state is State.OPENING:
            slot.fail(claim, error)
    slot.tell()


def settle_left_here(slot: Slot) -> None:
    """The same for an opening that an exception has taken this thread out of, where that is so."""
    if slot.is_left_by_this_thread:
        settle(slot, Abandoned())


def close_all(schedule: SharedSchedule, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open, last opened first; nothing that fails or interrupts skips what remains.

    To be called again where it was interrupted.
    """
    for slot in schedule.interrupted_here():
        settle(slot, report.outcome or Abandoned())
    schedule.end(report)
    _close(schedule.opened, needs, report, schedule.opening)
    schedule.opened.clear()
    schedule.threads.stop()


def close_some(slots: Iterable[Slot], container: str) -> CloseReport:
    """Close the given slots, in the given order, where they are open."""
    report = CloseReport(container, None)
    _close([*slots][::-1], lambda _: (), report)
    return report


def _close(opened: Iterable[Slot], needs: Needs, report: CloseReport, opening: Iterable[Slot] = ()) -> None:
    to_close = list(opened)

    def run() -> None:
        late = [slot for slot in list(opening) if slot.state is State.OPENING]
        _Closer(close.Closing(to_close, needs, late=late), report).run()

    if not persist(report, run):
        for slot in to_close:
            if slot.begin_close(report):
                slot.closed()
                report.note_defect(slot)


class _Closer(Closer):
    """Carries out one closing."""

    def __init__(self, closing: close.Closing[Slot], report: CloseReport) -> None:
        super().__init__(closing, report)
        self._ended: Ended = queue.SimpleQueue()
        self._at: dict[Future[Any], tuple[Slot, bool]] = {}  # whether it is an exit; else a late opening

    def run(self) -> None:
        while (command := self._closing.next(perf_counter())) is not None:
            if isinstance(command, close.Wait):
                self._wait(command.until)
            else:
                self._carry_out(command)

    def _close(self, slot: Slot) -> None:
        if not slot.begin_close(self._report):
            self._closing.closed(slot)
            return
        started = self._started[slot] = perf_counter()
        exiting = self._start(slot)
        if exiting is not None:
            self._closing.begun(slot, started, patience_with(slot), cancellable=isinstance(slot.place, InTask))
            self._at[exiting] = slot, True
            exiting.add_done_callback(self._ended.put)

    def _await_late(self, slot: Slot) -> None:
        waiter = slot.waiter()
        if waiter is None:
            self._closing.late_ended(slot)
        else:
            self._at[waiter] = slot, False
            waiter.add_done_callback(self._ended.put)
            self._closing.late_begun(slot, perf_counter())

    def _wait(self, until: float | None) -> None:
        try:
            ended = wait_for(self._ended, until)
        except Exception:
            raise
        except BaseException as interruption:  # a signal while another thread is at it, which goes on
            self._report.interrupted(interruption)
            return
        slot, closes = (None, False) if ended is None else self._at.pop(ended, (None, False))
        if ended is None or slot is None:
            return
        if not closes:
            self._closing.late_ended(slot)
        elif slot.state is State.CLOSING:  # else it has been left open
            self._closed(slot, self._exit_error(slot, ended.exception()))
