"""The driver on an event loop: asynchronous resources side by side, each in its task, blocking ones one after another.

Blocking resources stay in the calling thread, while tasks wait for their input and output, or have threads of their own.
What is done when is the schedule's; here it is carried out, and what has come of it is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter
from typing import Any

from prefect_lifespan.engine.awaiting import end_of
from prefect_lifespan.engine.blocking import settle
from prefect_lifespan.engine.closer import Closer, patience_with
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.end_queue import EndQueue
from prefect_lifespan.engine.initialiser import NeedsEventLoop
from prefect_lifespan.engine.persistence import apersist
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
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Needs, SharedSchedule, Slot
from prefect_lifespan.signal_safe import awaited_within, within


async def open_on_loop(
    schedule: SharedSchedule, slots: Iterable[Slot], needs: Needs, *, in_callers_context: bool
) -> None:
    """Open slots on the running loop, each as soon as what it needs is open, asynchronous ones side by side.

    When one fails, those that this call started and that are still opening are cancelled and awaited, and the
    initialiser's own exception is raised.
    """
    opening = open_.Opening(slots, needs, at_most=schedule.max_workers, side_by_side=_is_asynchronous)
    opener = _Opener(schedule, opening, in_callers_context=in_callers_context)
    await awaited_within(held_signals.back(opener.wake), lambda _: opener.run())


def _is_asynchronous(slot: Slot) -> bool:
    return slot.node.is_async


class _Opener:
    """Carries out one opening."""

    def __init__(self, schedule: SharedSchedule, opening: open_.Opening[Slot], *, in_callers_context: bool) -> None:
        self._in_threads = schedule.max_workers > 1
        self._in_callers_context = in_callers_context
        self._opening = opening
        self._queue = EndQueue()
        # What is waited for: an attempt of this call's with its place, or without one an opening that somebody else is at.
        self._at: dict[asyncio.Future[Any], tuple[Slot, InTask | InThread | None]] = {}
        self._places: dict[Slot, InTask | InThread] = {}
        self._interruption: BaseException | None = None  # that nobody else will hear of
        self._context: ResourceContext | None = None  # that those of asynchronous resources are made like

    def wake(self) -> None:
        """A signal has arrived: let this call deliver it, whatever it waits for."""
        self._queue.wake()

    async def run(self) -> None:
        try:
            try:
                await self._drive()
            except BaseException as error:
                await self._end(error)
                raise
        except BaseException as error:  # perhaps a signal that has interrupted that
            await self._end(error)
            if self._interruption is not None and isinstance(error, Exception):
                raise self._interruption from error
            raise
        failure = self._opening.failure
        if self._interruption is not None and (failure is None or isinstance(failure, Exception)):
            raise self._interruption from failure  # whose task this is asks for it, and whoever retries must not swallow it
        if failure is not None:
            raise failure

    async def _drive(self) -> None:
        while (command := self._opening.next(now := perf_counter())) is not None:
            if self._opening.failure is None:
                held_signals.deliver()
            match command:
                case open_.Open():
                    slot, claim = command.resource, command.claim
                    slot.opened_on = self._queue.loop
                    if slot.asynchronous:
                        self._begin(slot, self._in_task(slot, claim), now)
                    else:
                        await self._open_blocking(slot, claim)
                case open_.Await(slot):
                    self._await(slot)
                case open_.Cancel(slot):
                    if slot in self._places and self._places[slot].cancel():
                        self._opening.refused(slot, self._opening.failure or Abandoned())
                case open_.LeaveBehind(slot):
                    self._places.pop(slot).leave_behind()
                case open_.Wait(until):
                    await self._wait(until)

    async def _open_blocking(self, slot: Slot, claim: Claim) -> None:
        # Tasks that were just started get to their first wait. And a caller who has been cancelled hears of it.
        await asyncio.sleep(0)
        if self._in_threads:
            self._begin(slot, InThread(slot, claim.attempt, on_loop=True), perf_counter())
        else:
            self._open_here(slot, claim)

    def _open_here(self, slot: Slot, claim: Claim) -> None:
        self._context = None  # in this one it may set variables
        here = slot.place = Here(slot, claim.attempt, on_loop=True, in_callers_context=self._in_callers_context)
        try:
            # It is blocking, and nothing but a signal could interrupt it.
            within(held_signals.let_through(), lambda _: here.enter())
        except NeedsEventLoop as needs:
            self._begin(slot, self._in_task(slot, claim, needs.made), perf_counter())
        except BaseException as error:
            settle(slot, error, fails=False)
            self._opening.failed(slot, error, perf_counter())
        else:
            self._opening.succeeded(slot)

    def _in_task(self, slot: Slot, claim: Claim, made: object = None) -> InTask:
        self._context = self._context or ResourceContext()
        context = ResourceContext(self._context)
        return InTask(slot, claim.attempt, self._queue.loop, self._queue.is_over, context, made)

    def _begin(self, slot: Slot, place: InTask | InThread, now: float) -> None:
        self._places[slot] = slot.place = place
        self._opening.begun(slot, now, cancellable=isinstance(place, InTask))
        place.begin()
        self._watch(slot, place)

    def _watch(self, slot: Slot, place: InTask | InThread) -> None:
        # A task says itself that the attempt is over; its own end comes after that, or in the place of it.
        end = place.task if isinstance(place, InTask) else end_of(place.entering)
        if end is not None:
            self._at[end] = slot, place
            self._queue.watch(end)

    def _await(self, slot: Slot) -> None:
        waiter = slot.waiter()
        if waiter is None:
            self._opening.ended_elsewhere(slot, None, perf_counter())
        else:
            end = end_of(waiter, in_this_thread=slot.opened_on is self._queue.loop)
            self._at[end] = slot, None
            self._queue.watch(end)

    async def _wait(self, until: float | None) -> None:
        try:
            end = await self._queue.wait(until)
        except asyncio.CancelledError as cancelled:
            self._interruption = self._interruption or cancelled
            self._opening.wind_down(cancelled, perf_counter())
            return
        for over in self._queue.attempts():
            self._take(over.slot, over)
        if end is None or end not in self._at:
            return
        slot, place = self._at.pop(end)
        if isinstance(place, InTask) and not place.is_over:  # by a signal, or before its first step
            await place.settle(place.interruption or asyncio.CancelledError())
        if place is not None:
            self._take(slot, place)
        else:
            self._opening.ended_elsewhere(slot, end.result().exception(), perf_counter())

    def _take(self, slot: Slot, place: InTask | InThread) -> None:
        """An attempt has ended."""
        if self._places.get(slot) is not place:
            return  # it has been left behind
        self._take_from_task(slot, place) if isinstance(place, InTask) else self._take_from_thread(slot, place)
        if self._places.get(slot) is place:
            self._forget(slot, place)

    def _forget(self, slot: Slot, place: InTask | InThread) -> None:
        """Its task, which may go on, says nothing more of the opening."""
        del self._places[slot]
        if isinstance(place, InTask) and place.task is not None and self._at.pop(place.task, None) is not None:
            self._queue.forget(place.task)

    def _take_from_thread(self, slot: Slot, place: InThread) -> None:
        error = Abandoned() if place.entering.cancelled() else place.entering.exception()
        if isinstance(error, Abandoned):
            self._opening.refused(slot, self._opening.failure or error)
        elif error is None:
            self._opening.succeeded(slot)
        elif not isinstance(error, NeedsEventLoop):
            self._opening.failed(slot, error, perf_counter())
        elif self._opening.failure is None:
            assert slot.claim is not None, "it has been claimed"
            self._begin(slot, self._in_task(slot, slot.claim, error.made), perf_counter())
        else:
            error.discard()
            self._opening.refused(slot, self._opening.failure)

    def _take_from_task(self, slot: Slot, place: InTask) -> None:
        interruption = place.interruption
        if interruption is not None and not isinstance(interruption, Exception):
            self._interruption = self._interruption or interruption
        error = interruption or place.failure
        if error is None:
            self._opening.succeeded(slot)
        else:
            self._opening.failed(slot, error, perf_counter(), is_final=place.was_cancelled)

    async def _end(self, error: BaseException) -> None:
        """End what `error` has interrupted: what has been entered is open, everything else has failed, all are told."""
        for _ in range(limits.ATTEMPTS):
            with suppress(Exception):  # the first one goes on
                self._wind_down(error)
                await self._drive()
                return
        for slot in self._opening.unfinished:
            settle(slot, error)

    def _wind_down(self, error: BaseException) -> None:
        self._opening.wind_down(error, perf_counter())
        for slot in self._opening.unfinished:
            place = self._places.get(slot)
            if place is None or (isinstance(place, InTask) and place.task is None):
                settle(slot, error)
                self._opening.refused(slot, error)
            else:
                self._watch(slot, place)
                if isinstance(place, InTask) and place.is_over:  # it says so once, and who heard it was interrupted
                    self._queue.is_over(place)


async def aclose_all(schedule: SharedSchedule, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open; neither a failure nor a cancellation skips what remains.

    To be called again where a signal has interrupted it, in a step of ours.
    """
    schedule.end(report)
    late = [slot for slot in list(schedule.opening) if slot.state is State.OPENING]
    await _Closer(_closing_of(schedule.opened, needs, late), report).run()
    schedule.opened.clear()
    schedule.threads.stop()


async def aclose_some(slots: Iterable[Slot], needs: Needs, container: str) -> CloseReport:
    """Close the given slots, which come in opening order, where they are open."""
    report = CloseReport(container, None)
    closing = [*slots]
    await apersist(report, lambda: _Closer(_closing_of(closing, needs), report).run())
    return report


def _closing_of(opened: Iterable[Slot], needs: Needs, late: Iterable[Slot] = ()) -> close.Closing[Slot]:
    return close.Closing(opened, needs, late=late, side_by_side=lambda slot: isinstance(slot.place, InTask))


class _Closer(Closer):
    """Carries out one closing."""

    def __init__(self, closing: close.Closing[Slot], report: CloseReport) -> None:
        super().__init__(closing, report)
        self._others: set[Slot] = set()  # that another closing is at, which reports on them
        self._queue = EndQueue()
        self._at: dict[asyncio.Future[Any], tuple[Slot, InTask | InThread | None]] = {}

    async def run(self) -> None:
        while (command := self._closing.next(perf_counter())) is not None:
            if isinstance(command, close.Wait):
                await self._wait(command.until)
            else:
                self._carry_out(command)

    def _close(self, slot: Slot) -> None:
        place = slot.place
        started = self._started[slot] = perf_counter()
        is_mine = slot.begin_close(self._report)
        if isinstance(place, InTask):
            if is_mine:
                self._report.interrupted(place.interruption)
                place.request_exit(self._report.told)
            else:
                self._others.add(slot)
            if place.task is not None:
                self._closing.begun(slot, started, patience_with(slot), cancellable=is_mine)
                self._watch(place.task, slot, place)
                return
        if not is_mine:
            self._closing.closed(slot)
            return
        exiting = self._start(slot)
        if exiting is None:
            return
        if isinstance(place, InThread):
            self._closing.begun(slot, started, patience_with(slot), cancellable=False)
            self._watch(end_of(exiting), slot, place)
        else:
            self._closed(slot, None)

    def _watch(self, end: asyncio.Future[Any], slot: Slot, place: InTask | InThread | None) -> None:
        self._at[end] = slot, place
        self._queue.watch(end)

    def _closed(self, slot: Slot, error: BaseException | None) -> None:
        if slot in self._others:
            self._closing.closed(slot)
        else:
            super()._closed(slot, error)

    def _await_late(self, slot: Slot) -> None:
        waiter = slot.waiter()
        if waiter is None:
            self._closing.late_ended(slot)
        else:
            end = end_of(waiter, in_this_thread=slot.opened_on is self._queue.loop)
            self._watch(end, slot, None)
            self._closing.late_begun(slot, perf_counter())

    async def _wait(self, until: float | None) -> None:
        try:
            ended = await self._queue.wait(until)
        except asyncio.CancelledError as cancelled:
            self._report.interrupted(cancelled)
            return
        if ended is None or ended not in self._at:
            return
        slot, place = self._at.pop(ended)
        if place is None:
            self._closing.late_ended(slot)
        elif isinstance(place, InTask):
            self._take_from_task(slot, place)
        elif slot.state is State.CLOSING:  # else it has been left open
            self._closed(slot, ended.result().exception())

    def _take_from_task(self, slot: Slot, place: InTask) -> None:
        if slot not in self._others and slot.state is not State.CLOSING:
            return  # it has been left open
        if slot not in self._others and place.is_to_be_left:  # interrupted before its exit was called
            self._report.interrupted(place.interruption or asyncio.CancelledError())
            self._closing.interrupted(slot)
            return
        error = self._exit_error(slot, place.exit_error)
        if slot not in self._others:
            self._report.interrupted(place.interruption)
        self._closed(slot, error)
