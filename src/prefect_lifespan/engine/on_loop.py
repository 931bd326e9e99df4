"""The driver that awaits: asynchronous resources side by side in tasks of their own, blocking ones one after another.

Blocking resources stay in the calling thread, while the tasks wait for their input and output, or go to threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from time import perf_counter

from prefect_lifespan.engine.arrivals import Arrivals, arrival_of
from prefect_lifespan.engine.closing import Closer, is_in_a_task, still_opening
from prefect_lifespan.engine.initialiser import NeedsEventLoop, Outcome
from prefect_lifespan.engine.opening import Needs, Opener
from prefect_lifespan.engine.openings import Openings
from prefect_lifespan.engine.places.here import Here
from prefect_lifespan.engine.places.in_task import InTask
from prefect_lifespan.engine.places.in_thread import InThread
from prefect_lifespan.engine.places.place import Endings, Place
from prefect_lifespan.engine.schedule.commands import Done, Enter, Exit, Leave, Wait
from prefect_lifespan.engine.schedule.limits import INTERRUPTIONS
from prefect_lifespan.engine.schedule.opening import OpeningSchedule
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.steps import awaited_within


async def open_on_loop(slots: Sequence[Slot], needs: Needs, *, max_workers: int, in_callers_context: bool) -> None:
    """Open slots on the running loop, each as soon as what it needs is open, asynchronous ones side by side.

    When one fails, those that this call started and that are still opening are stopped and awaited, and the
    initialiser's own exception is raised.
    """
    pending = [slot for slot in slots if slot.state is not State.OPEN]
    if pending:
        opener = _LoopOpener(pending, needs, max_workers, in_callers_context=in_callers_context)
        # A signal that arrives meanwhile is delivered where the opener can see to it: in one of its own steps.
        await awaited_within(held_signals.back(opener.wake), lambda _: opener.run())


class _LoopOpener(Opener):
    """Of some slots that are not open."""

    def __init__(self, slots: Sequence[Slot], needs: Needs, max_workers: int, *, in_callers_context: bool) -> None:
        schedule = OpeningSchedule(
            slots,
            needs,
            side_by_side=_is_asynchronous,
            at_once=max_workers,
            others_take_turns=False,
            given_up=asyncio.CancelledError,
        )
        super().__init__(schedule, slots, thread=None, loop=asyncio.get_running_loop())
        self._in_threads = max_workers > 1
        self._in_callers_context = in_callers_context
        self._arrivals: Arrivals[tuple[Slot, Future[None] | None]] = Arrivals()

    def wake(self) -> None:
        """A signal has arrived: let it be delivered in the next step."""
        self._arrivals.wake()

    async def run(self) -> None:
        """Open them all; raises what failed, when nothing is under way any more."""
        try:
            try:
                await self._work()
            except GeneratorExit:
                raise  # the coroutine is dropped: its loop is gone
            except BaseException as interruption:
                await self._end(interruption)
        except GeneratorExit:
            raise
        except BaseException as interruption:  # where a signal has interrupted that
            await self._end(interruption)
        if self._schedule.failure is not None:
            raise self._schedule.failure

    async def _end(self, interruption: BaseException) -> None:
        """Bring to its end what is under way, also where that is interrupted again."""
        try:
            for _ in range(INTERRUPTIONS):
                try:
                    self._schedule.interrupted(interruption, perf_counter())
                    self._look_around(interruption)
                    await self._work()
                    return
                except GeneratorExit:
                    raise
                except BaseException as again:
                    interruption = again
        finally:
            self._settle_what_is_left(interruption)
            self._arrivals.forget()

    async def _work(self) -> None:
        while not isinstance(command := self._schedule.next(perf_counter()), Done):
            if isinstance(command, Enter):
                await self._enter(command.resource)
            elif isinstance(command, Wait):
                await self._wait(command.seconds)
            elif isinstance(command, Leave):
                self._leave(command)
            elif (place := command.resource.place) is not None:
                place.stop(for_its_limit=command.for_its_limit)
            held_signals.deliver()

    async def _enter(self, slot: Slot) -> None:
        try:
            theirs = self._claim(slot)
        except LifespanError as error:
            self._refuse(slot, error)
            return
        if theirs is not None:
            arrival = arrival_of(theirs, in_this_thread=slot.opens_on(self.loop))
            self._arrivals.watch(arrival, (slot, theirs))
            return
        if not _is_asynchronous(slot) and not self._in_threads:
            await asyncio.sleep(0)  # tasks that have just begun get to their first wait
        self._enter_in(slot, self._place_of(slot))

    def _enter_in(self, slot: Slot, place: Place) -> None:
        slot.place = place
        try:
            place.enter_on_loop()
        except BaseException as error:
            self._ended(slot, place, error)
            return
        if self._wait_for(slot, place):
            self._schedule.begun(slot, place.remedy, perf_counter())
        else:
            self._ended(slot, place, None)

    def _place_of(self, slot: Slot) -> Place:
        if _is_asynchronous(slot):
            return InTask(slot)
        if self._in_threads:
            return InThread(slot, on_loop=True)
        return Here(slot, in_callers_context=self._in_callers_context, on_loop=True)

    def _exit_in(self, place: Place, outcome: Outcome) -> None:
        place.exit_on_loop(outcome)

    def _wait_for(self, slot: Slot, place: Place) -> bool:
        pending = place.pending_on_loop()
        for ending in pending:
            self._arrivals.watch(ending, (slot, None))
        return bool(pending)

    def _needs_loop(self, slot: Slot, needs: NeedsEventLoop) -> None:
        if self._schedule.failure is not None:
            needs.discard()
            self._failed(slot, asyncio.CancelledError())
            return
        place = slot.place = InTask(slot, needs.made)
        self._schedule.moved(slot, place.remedy, perf_counter())
        place.enter_on_loop()
        self._wait_for(slot, place)

    async def _wait(self, seconds: float | None) -> None:
        try:
            arrived = await self._arrivals.next(seconds)
        except asyncio.CancelledError as cancelled:
            self._schedule.interrupted(cancelled, perf_counter())
            return
        if arrived is None:
            return
        slot, theirs = arrived
        if theirs is None:
            self._take(slot)
        else:
            self._take_theirs(slot, theirs)


def _is_asynchronous(slot: Slot) -> bool:
    return slot.node.is_async


async def aclose_all(openings: Openings, needs: Needs, report: CloseReport) -> None:
    """Close everything that is open; neither a failure nor a cancellation skips what remains.

    To be called again where a signal has interrupted it, in a step of ours.
    """
    openings.end(report)
    await _LoopCloser(openings.opened, needs, report, still_opening(openings)).run()
    openings.opened.clear()
    openings.threads.stop()


async def aclose_some(slots: Iterable[Slot], needs: Needs, container: str) -> CloseReport:
    """Close the given slots, which come in opening order, where they are open."""
    report = CloseReport(container, None)
    await _LoopCloser(slots, needs, report).run()
    return report


class _LoopCloser(Closer):
    def __init__(self, slots: Iterable[Slot], needs: Needs, report: CloseReport, opening: Iterable[Slot] = ()) -> None:
        super().__init__(slots, needs, report, side_by_side=is_in_a_task, opening=opening)
        self._arrivals: Arrivals[Slot] = Arrivals()
        loop = asyncio.get_running_loop()
        for slot, under_way in self._opening.items():
            self._watch(slot, (arrival_of(under_way, in_this_thread=slot.opens_on(loop)),))

    async def run(self) -> None:
        """Close them all."""
        while True:
            try:
                await self._work()
                return
            except GeneratorExit:
                raise  # the coroutine is dropped: its loop is gone
            except BaseException as interruption:
                self.interrupted(interruption)

    async def _work(self) -> None:
        if self._was_interrupted:
            self._look_around()
        while not isinstance(command := self._schedule.next(perf_counter()), Done):
            if isinstance(command, Exit):
                self._exit(command.resource)
            elif isinstance(command, Wait):
                await self._wait(command.seconds)
            else:
                self._give_up(command)

    def _exit(self, slot: Slot) -> None:
        place = self._begin(slot)
        if place is None:
            return
        try:
            place.exit_on_loop(self._report.told)
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
        pending = place.pending_on_loop()
        self._watch(slot, pending)
        return bool(pending)

    def _watch(self, slot: Slot, endings: Endings) -> None:
        for ending in endings:
            self._arrivals.watch(ending, slot)

    async def _wait(self, seconds: float | None) -> None:
        try:
            slot = await self._arrivals.next(seconds)
        except asyncio.CancelledError as cancelled:
            self._report.interrupted(cancelled)
            return
        if slot is not None:
            self._take(slot)
