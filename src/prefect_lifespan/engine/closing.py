"""Closing: what both closers, the one that blocks and the one that awaits, do with the commands of their schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from time import perf_counter

from prefect_lifespan.engine.opening import Needs
from prefect_lifespan.engine.openings import Openings
from prefect_lifespan.engine.places.place import Place
from prefect_lifespan.engine.schedule.closing import ClosingSchedule
from prefect_lifespan.engine.schedule.commands import GiveUp, GiveUpOpening, Remedy
from prefect_lifespan.engine.schedule.limits import INTERRUPTIONS
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError


class Closer:
    """Closes some slots, each exactly once: takes them out of use, and keeps and tells what has become of them.

    The two that there are say how a place is exited and how that is waited for; nothing else of it depends on that.
    """

    def __init__(
        self,
        slots: Iterable[Slot],
        needs: Needs,
        report: CloseReport,
        *,
        side_by_side: Callable[[Slot], bool],
        opening: Iterable[Slot] = (),
    ) -> None:
        """`opening` are those whose opening is under way as closing begins: what they need waits for them."""
        self._report = report
        self._started: dict[Slot, float] = {}
        self._others: set[Slot] = set()  # that another closer is at, which reports on them
        self._opening: dict[Slot, Future[None]] = {}
        self._interruptions = 0  # since something has closed
        self._was_interrupted = False
        for slot in opening:
            under_way = slot.opening_under_way
            if under_way is not None:
                self._opening[slot] = under_way
        self._schedule = ClosingSchedule(
            [slot for slot in slots if slot.state is not State.CLOSED],
            needs,
            side_by_side=side_by_side,
            opening=self._opening,
            now=perf_counter(),
        )

    def interrupted(self, error: BaseException) -> None:
        """A signal has arrived, or a cancellation: it goes on when everything has been tried."""
        self._was_interrupted = True
        self._report.interrupted(error)
        self._interruptions += 1
        if self._interruptions >= INTERRUPTIONS:  # without anything that closes in between: that is no signal any more
            self._give_up_by_a_defect()

    def _wait_for(self, slot: Slot, place: Place) -> bool:
        """Let it be told when what is pending in a place has come to its end; False where nothing is."""
        raise NotImplementedError

    def _begin(self, slot: Slot) -> Place | None:
        """Take it out of use; its place, where there is something to be done or waited for there."""
        place = slot.place
        if slot.begin_close(self._report):
            self._started.setdefault(slot, perf_counter())
        elif slot.state is State.CLOSING and is_in_a_task(slot):
            self._others.add(slot)  # in a task of its own: what it needs closes after it, whoever closes it
        else:
            place = None
        if place is None:
            self._schedule.closed(slot)
        return place

    def _look_around(self) -> None:
        """After an interruption: what has come to its end and was not noticed."""
        for slot in (*self._schedule.exiting, *self._schedule.opening):
            self._take(slot)
        for slot in self._schedule.exiting:
            if slot.place is not None:
                self._wait_for(slot, slot.place)

    def _take(self, slot: Slot) -> None:
        """Something may have come to its end that is waited for."""
        place = slot.place
        if slot in self._opening:
            if self._opening[slot].done():
                self._schedule.opening_ended(slot)
        elif place is None:
            self._schedule.closed(slot)
        elif slot in self._schedule and not place.is_exiting:
            if self._is_unexited(slot, place):
                self._again(slot, place)
            else:
                if slot not in self._others and not isinstance(place.failure, (Exception, asyncio.CancelledError)):
                    self._report.interrupted(place.failure)  # a signal has ended its task, and nobody has heard of it
                self._ended(slot, place.error)

    def _again(self, slot: Slot, place: Place) -> None:
        """Its task has been interrupted before the exit was called: it is tried again."""
        failure = place.failure
        self._schedule.not_begun(slot)
        if failure is not None:
            self.interrupted(failure)

    def _ended(self, slot: Slot, error: BaseException | None) -> None:
        """Its exit has come to its end, with an error or without."""
        if slot not in self._others:
            outcome, failure = self._report.told, self._report.take(slot, error)
            slot.closed()  # after its error is kept: until then an interruption lets it be closed again
            seconds = perf_counter() - self._started.get(slot, perf_counter())
            slot.event("closed" if failure is None else "close-failed", seconds, failure, outcome)
        self._interruptions = 0
        self._schedule.closed(slot)

    def _is_unexited(self, slot: Slot, place: Place) -> bool:
        """Whether something has interrupted it before its exit was called: then that is to be called again."""
        return slot not in self._others and place.entered.has_exit and place.entered.is_held

    def _give_up(self, command: GiveUp[Slot] | GiveUpOpening[Slot]) -> None:
        slot = command.resource
        if isinstance(command, GiveUpOpening):
            self._give_up_opening(slot)
        elif (place := slot.place) is None:
            self._schedule.closed(slot)
        else:
            self._ended(slot, place.give_up() if place.is_exiting else place.error)

    def _give_up_opening(self, slot: Slot) -> None:
        if not self._opening[slot].done():
            late = ResourceTimeoutError(slot.path, "open", slot.policy.close_timeout_seconds or 0.0)
            self._report.raising.append(late)
            slot.event("open-failed", slot.own_time.seconds(perf_counter()), late)
        self._schedule.opening_ended(slot)

    def _give_up_by_a_defect(self) -> None:
        self._interruptions = 0
        slot = self._schedule.first
        if slot is not None:
            error = LifespanError(
                f"{slot.path} was not closed, by a defect of prefect_lifespan: please report the error below"
            )
            self._report.raising.append(error)
            slot.begin_close(self._report)
            slot.closed()
            self._schedule.closed(slot)
        for late in self._schedule.opening:
            self._schedule.opening_ended(late)


def is_in_a_task(slot: Slot) -> bool:
    """Whether it lives in an asyncio task of its own, so that it can close beside others."""
    return slot.place is not None and slot.place.remedy is Remedy.STOP


def still_opening(openings: Openings) -> list[Slot]:
    """What is under way when a lifespan ends: each sees that, and exits at once what it has entered."""
    return [slot for slot in list(openings.opening) if slot.state is State.OPENING]


def persist(report: CloseReport, step: Callable[[], object]) -> bool:
    """Run a step of closing to its end, again where a signal has interrupted it; False where that comes to nothing."""
    for _ in range(INTERRUPTIONS):
        try:
            step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False


async def apersist(report: CloseReport, step: Callable[[], Awaitable[object]]) -> bool:
    """The same for a step that is awaited."""
    for _ in range(INTERRUPTIONS):
        try:
            await step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False
