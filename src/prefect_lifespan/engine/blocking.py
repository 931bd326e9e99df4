"""The driver that blocks: it carries out the schedules in the calling thread, and waits for what lives in other threads."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from time import perf_counter

from prefect_lifespan.engine.closing import Closer, still_opening
from prefect_lifespan.engine.initialiser import NeedsEventLoop, Outcome
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import Needs, Opener, settle
from prefect_lifespan.engine.openings import Openings
from prefect_lifespan.engine.places.here import Here
from prefect_lifespan.engine.places.in_thread import InThread
from prefect_lifespan.engine.places.place import Place
from prefect_lifespan.engine.schedule.commands import Done, Enter, Exit, Leave, Wait
from prefect_lifespan.engine.schedule.limits import INTERRUPTIONS
from prefect_lifespan.engine.schedule.opening import OpeningSchedule
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Abandoned, Slot
from prefect_lifespan.errors import AsyncResourceError, LifespanError


def open_blocking(
    slots: Sequence[Slot],
    needs: Needs,
    where: str,
    *,
    side_by_side: int = 1,
    in_callers_context: Openings | None = None,
) -> None:
    """Open slots, dependencies first as they come: one after another, or up to so many `side_by_side` in threads.

    Context variables that an initialiser sets are the caller's where its slot is of the openings `in_callers_context`,
    which whoever also closes that gives; else each initialiser has a context of its own, and its closer runs in the same.

    Raises:
        AsyncResourceError: one turned out to be asynchronous.
        LifespanClosedError: one has closed.
        Exception: an initialiser's own.
    """
    pending = [slot for slot in slots if slot.state is not State.OPEN]
    if pending:
        _BlockingOpener(pending, needs, where, side_by_side, in_callers_context).run()


class _BlockingOpener(Opener):
    """Of some slots that are not open."""

    def __init__(
        self, slots: Sequence[Slot], needs: Needs, where: str, side_by_side: int, in_callers_context: Openings | None
    ) -> None:
        schedule = OpeningSchedule(
            slots,
            needs if side_by_side > 1 else _nothing,  # in order, each after the one before
            side_by_side=_never,
            at_once=side_by_side,
            others_take_turns=True,
            given_up=Abandoned,
        )
        super().__init__(schedule, slots, thread=threading.get_ident(), loop=None)
        self._where = where
        self._in_threads = side_by_side > 1
        self._in_callers_context = in_callers_context
        self._arrived: queue.SimpleQueue[tuple[Slot, Future[None] | None]] | None = None

    def run(self) -> None:
        """Open them all; raises what failed, when nothing is under way any more."""
        try:
            self._work()
        except BaseException as interruption:
            self._end(interruption)
        if self._schedule.failure is not None:
            raise self._schedule.failure

    def _end(self, interruption: BaseException) -> None:
        """Bring to its end what is under way, also where that is interrupted again."""
        try:
            for _ in range(INTERRUPTIONS):
                try:
                    self._schedule.interrupted(interruption, perf_counter())
                    self._look_around(interruption)
                    self._work()
                    return
                except BaseException as again:
                    interruption = again
        finally:
            self._settle_what_is_left(interruption)

    def _work(self) -> None:
        while not isinstance(command := self._schedule.next(perf_counter()), Done):
            if isinstance(command, Enter):
                self._enter(command.resource)
            elif isinstance(command, Wait):
                self._wait(command.seconds)
            elif isinstance(command, Leave):
                self._leave(command)

    def _enter(self, slot: Slot) -> None:
        try:
            theirs = self._claim(slot)
        except LifespanError as error:
            self._refuse(slot, error)
            return
        if theirs is not None:
            self._wait_for_another(slot, theirs)
            return
        place = slot.place = self._place_of(slot)
        try:
            place.enter()
        except BaseException as error:
            self._ended(slot, place, error)
            return
        if self._wait_for(slot, place):
            self._schedule.begun(slot, place.remedy, perf_counter())
        else:
            self._ended(slot, place, None)

    def _place_of(self, slot: Slot) -> Place:
        thread = None if self._in_threads else slot.openings.threads.current()
        if thread is None and slot.openings.at_home and not self._in_threads:
            return Here(slot, in_callers_context=slot.openings is self._in_callers_context, on_loop=False)
        return InThread(slot, on_loop=False, thread=thread)

    def _wait_for_another(self, slot: Slot, theirs: Future[None]) -> None:
        loop = running_loop()
        if not theirs.done() and slot.opens_on(loop):
            # Waiting would keep the loop from ever opening it.
            self._refuse(slot, AsyncResourceError([slot.path], self._where, on_loop=True))
        else:
            self._tell_of(theirs, slot, theirs)

    def _exit_in(self, place: Place, outcome: Outcome) -> None:
        place.exit(outcome)

    def _wait_for(self, slot: Slot, place: Place) -> bool:
        pending = place.pending()
        if pending is not None:
            self._tell_of(pending, slot)
        return pending is not None

    def _needs_loop(self, slot: Slot, needs: NeedsEventLoop) -> None:
        needs.discard()
        slot.found_asynchronous = True
        self._refuse(slot, AsyncResourceError([slot.path], self._where, on_loop=running_loop() is not None))

    def _tell_of(self, ending: Future[None], slot: Slot, theirs: Future[None] | None = None) -> None:
        arrived = self._arrived = self._arrived or queue.SimpleQueue()
        ending.add_done_callback(lambda _: arrived.put((slot, theirs)))

    def _wait(self, seconds: float | None) -> None:
        if self._arrived is None:
            if seconds is None:
                raise LifespanError(
                    "nothing will come of what is waited for: a defect of prefect_lifespan, please report it"
                )
            time.sleep(max(seconds, 0.0))  # between two attempts
            return
        try:
            slot, theirs = self._arrived.get(timeout=None if seconds is None else max(seconds, 0.0))
        except queue.Empty:
            return
        if theirs is None:
            self._take(slot)
        else:
            self._take_theirs(slot, theirs)


def close_all(openings: Openings, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open, last opened first; nothing that fails or interrupts skips what remains.

    To be called again where it was interrupted.
    """
    for slot in openings.interrupted_here():
        settle(slot, report.outcome or Abandoned())
    openings.end(report)
    _BlockingCloser(openings.opened, needs, report, still_opening(openings)).run()
    openings.opened.clear()
    openings.threads.stop()


def close_some(slots: Iterable[Slot], container: str) -> CloseReport:
    """Close the given slots, which come in opening order, where they are open."""
    report = CloseReport(container, None)
    _BlockingCloser(slots, _nothing, report).run()
    return report


class _BlockingCloser(Closer):
    def __init__(self, slots: Iterable[Slot], needs: Needs, report: CloseReport, opening: Iterable[Slot] = ()) -> None:
        super().__init__(slots, needs, report, side_by_side=_never, opening=opening)
        self._arrived: queue.SimpleQueue[Slot] | None = None
        for slot, under_way in self._opening.items():
            self._tell_of(under_way, slot)

    def run(self) -> None:
        """Close them all."""
        while True:
            try:
                self._work()
                return
            except BaseException as interruption:
                self.interrupted(interruption)

    def _work(self) -> None:
        if self._was_interrupted:
            self._look_around()
        while not isinstance(command := self._schedule.next(perf_counter()), Done):
            if isinstance(command, Exit):
                self._exit(command.resource)
            elif isinstance(command, Wait):
                self._wait(command.seconds)
            else:
                self._give_up(command)

    def _exit(self, slot: Slot) -> None:
        place = self._begin(slot)
        if place is None:
            return
        try:
            place.exit(self._report.told)
        except BaseException as error:
            if self._is_unexited(slot, place):
                raise
            self._ended(slot, error)
            return
        if self._wait_for(slot, place):
            self._schedule.begun(slot, place.patience(slot.policy.close_timeout_seconds), perf_counter())
        else:
            self._ended(slot, place.error)

    def _wait_for(self, slot: Slot, place: Place) -> bool:
        pending = place.pending()
        if pending is not None:
            self._tell_of(pending, slot)
        return pending is not None

    def _tell_of(self, ending: Future[None], slot: Slot) -> None:
        arrived = self._arrived = self._arrived or queue.SimpleQueue()
        ending.add_done_callback(lambda _: arrived.put(slot))

    def _wait(self, seconds: float | None) -> None:
        if self._arrived is None:
            raise LifespanError(
                "nothing will come of what is waited for: a defect of prefect_lifespan, please report it"
            )
        try:
            self._take(self._arrived.get(timeout=None if seconds is None else max(seconds, 0.0)))
        except queue.Empty:
            return


def _never(_: Slot) -> bool:
    return False


def _nothing(_: Slot) -> tuple[Slot, ...]:
    return ()
