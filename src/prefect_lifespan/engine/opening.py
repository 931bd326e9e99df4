"""Opening: what both openers, the one that blocks and the one that awaits, do with the commands of their schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from time import perf_counter

from prefect_lifespan.engine.initialiser import NeedsEventLoop, Outcome
from prefect_lifespan.engine.late import LateExit, note_on_its_limit
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.engine.pauses import while_others_open
from prefect_lifespan.engine.places.place import Place
from prefect_lifespan.engine.schedule.commands import Leave
from prefect_lifespan.engine.schedule.opening import OpeningSchedule
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Abandoned, Claimant, Slot
from prefect_lifespan.errors import AsyncResourceError, LifespanError, ResourceTimeoutError
from prefect_lifespan.graph import Graph
from prefect_lifespan.managers import manager

Needs = Callable[[Slot], Iterable[Slot]]


class Opener(Claimant):
    """Opens some slots: claims them, and tells the schedule and whoever waits what has become of them.

    The two that there are say how a place is entered and exited; nothing else of it depends on that.
    """

    def __init__(
        self, schedule: OpeningSchedule[Slot], slots: Sequence[Slot], *, thread: int | None, loop: Loop
    ) -> None:
        super().__init__(thread=thread, loop=loop)
        self._schedule = schedule
        self._slots = slots
        self._exits: dict[Slot, LateExit | ResourceTimeoutError] = {}  # of what was entered too late, and why

    def _exit_in(self, place: Place, outcome: Outcome) -> None:
        """Exit what was entered too late."""
        raise NotImplementedError

    def _wait_for(self, slot: Slot, place: Place) -> bool:
        """Let it be told when what is pending in a place has come to its end; False where nothing is."""
        raise NotImplementedError

    def _needs_loop(self, slot: Slot, needs: NeedsEventLoop) -> None:
        """What a blocking initialiser returned is to be entered on an event loop."""
        raise NotImplementedError

    def _claim(self, slot: Slot) -> Future[None] | None:
        """Claim it: None where the claim is this opener's; else what tells when somebody else's has ended."""
        if slot.is_claimed_by(self):
            return None  # for another attempt
        if slot.is_left_by_this_thread:
            settle(slot, Abandoned())
        theirs = slot.claim(self)
        if theirs is not None:
            self._schedule.elsewhere(slot)
        return theirs

    def _take_theirs(self, slot: Slot, theirs: Future[None]) -> None:
        """Somebody else's opening has ended."""
        error = theirs.exception()
        if error is None:
            self._schedule.opened(slot)
        elif isinstance(error, Abandoned):
            self._schedule.freed(slot)
        else:
            self._schedule.refused(slot, error, perf_counter())

    def _take(self, slot: Slot) -> None:
        """Something may have come to its end in a place that is waited for."""
        place = slot.place
        if place is None or slot not in self._schedule:
            return
        if slot in self._exits:
            if not place.is_exiting:
                self._exited(slot, place.error)
        elif not place.is_entering:
            self._ended(slot, place, place.failure)

    def _ended(self, slot: Slot, place: Place, error: BaseException | None) -> None:
        """Entering has come to its end, perhaps with an error; or with one after it, which a signal has raised."""
        if place.entered.is_left:
            self._came_late(slot, None)  # its own thread has seen that the lifespan has ended
        elif place.entered.is_held:
            self._entered(slot, place)
            if error is not None:
                self._schedule.interrupted(error, perf_counter())
        elif isinstance(error, NeedsEventLoop):
            self._needs_loop(slot, error)
        else:
            self._failed(slot, Abandoned() if error is None else error)

    def _entered(self, slot: Slot, place: Place) -> None:
        now, is_new = perf_counter(), slot.is_claimed_by(self)
        late = self._schedule.entered(slot, now) if is_new else None
        if late is not None:
            self._exits[slot] = late
            self._exit(slot, place, late)
        elif slot.opened():
            self._schedule.opened(slot)
            if is_new:
                slot.event("opened", slot.own_time.seconds(now))
        elif slot.state is State.CLOSED:
            self._schedule.refused(slot, slot.closed_error(), now)
        else:  # the lifespan has ended meanwhile, as whoever asked for it is told
            self._exits[slot] = exit_ = LateExit(slot, place.entered)
            self._exit(slot, place, exit_.outcome)

    def _exit(self, slot: Slot, place: Place, outcome: Outcome) -> None:
        """Exit what was entered too late. Doing it again does nothing, if its exit was called."""
        try:
            self._exit_in(place, outcome)
        except BaseException as error:
            if place.entered.has_exit and place.entered.is_held:
                raise  # before it was called
            self._exited(slot, error)
            return
        self._schedule.exiting(slot, perf_counter())
        if not self._wait_for(slot, place):
            self._exited(slot, place.error)

    def _exited(self, slot: Slot, error: BaseException | None) -> None:
        exit_, place = self._exits[slot], slot.place
        if isinstance(exit_, LateExit):
            exit_.ended(error)
            self._came_late(slot, error)
        else:
            note_on_its_limit(slot, exit_, 0.0 if place is None else place.entered.seconds, error)
            self._failed(slot, exit_)
        self._exits.pop(slot, None)
        if error is not None and not isinstance(error, (Exception, asyncio.CancelledError)):
            self._schedule.interrupted(error, perf_counter())

    def _came_late(self, slot: Slot, cause: BaseException | None) -> None:
        slot.came_late()
        error = slot.closed_error()
        error.__cause__ = cause
        self._schedule.refused(slot, error, perf_counter())

    def _failed(self, slot: Slot, error: BaseException, *, again: bool = True) -> None:
        """An attempt has failed, and perhaps all of it."""
        now, place = perf_counter(), slot.place
        if not slot.is_claimed_by(self):
            self._schedule.refused(slot, error, now)
            return
        # An argument that cannot be made, such as a setting that is missing, is not there in a second either.
        again = again and not slot.openings.ended and slot.provider.argument_failure is not error
        stopped = isinstance(error, asyncio.CancelledError) and place is not None and place.was_stopped
        again = again and not (place is not None and place.was_cancelled)
        failed = self._schedule.failed(slot, error, now, again=again, stopped=stopped)
        slot.event(failed.kind, slot.own_time.seconds(now), failed.error)
        if failed.kind == "open-failed":
            slot.failed(failed.error)
        slot.place = None

    def _refuse(self, slot: Slot, error: LifespanError) -> None:
        """It does not open here, which is no failure of its initialiser."""
        if slot.is_claimed_by(self):
            slot.failed(error)
        self._schedule.refused(slot, error, perf_counter())

    def _leave(self, command: Leave[Slot]) -> None:
        slot, place = command.resource, command.resource.place
        if slot in self._exits and place is not None:
            self._exited(slot, place.give_up())
        elif place is None or place.abandon(command.told):
            self._failed(slot, command.error, again=command.again)
        # Else it has been entered in the last moment, which is about to be told.

    def _look_around(self, error: BaseException) -> None:
        """After an interruption: what has come to its end and was not noticed, or has never begun."""
        for slot in self._schedule.under_way:
            place = slot.place
            if place is None:
                self._failed(slot, error)
            elif slot in self._exits:
                exit_ = self._exits[slot]
                self._exit(slot, place, exit_.outcome if isinstance(exit_, LateExit) else exit_)
            elif place.is_entering:
                self._wait_for(slot, place)
            else:
                failure = place.failure
                if place.abandon(error):
                    self._failed(slot, failure or error)
                else:
                    self._ended(slot, place, failure)

    def _settle_what_is_left(self, error: BaseException) -> None:
        """Where the end was interrupted as well: nobody is to wait for a claim that nobody has any more."""
        for slot in self._slots:
            if slot.is_claimed_by(self):
                settle(slot, error)


Loop = asyncio.AbstractEventLoop | None


def settle(slot: Slot, error: BaseException) -> None:
    """End an opening that `error` has interrupted: what has been entered is open, everything else has failed.

    Where the lifespan has ended meanwhile, it is exited at once. Doing it again does nothing.
    """
    place = slot.place
    if slot.state is State.OPENING:
        if place is None or (place.abandon(error) and not place.entered.is_left):
            slot.failed(error)
        elif place.entered.is_left:
            slot.came_late()
        elif not slot.opened():
            _exit_at_once(slot, place, error)
            slot.came_late()
    slot.tell()


def _exit_at_once(slot: Slot, place: Place, error: BaseException) -> None:
    late = LateExit(slot, place.entered, error)
    if slot.opens_on(running_loop()):
        place.exit_on_loop(late.outcome)  # by its task, which nobody can wait for here
        return
    raised: BaseException | None = None
    try:
        place.exit(late.outcome)
        exiting = place.pending()
        if exiting is not None:
            wait([exiting])
        raised = place.error
    except Exception as own:
        raised = own
    late.ended(raised)


@manager
def opening_for(graph: Graph, slots: Sequence[Slot], where: str, asked: Sequence[int]) -> Generator[None]:
    """Around the opening of slots: an initialiser's error is noted what was being opened, and who asked for it how."""
    with while_others_open():
        try:
            yield
        except BaseException as error:
            failed = next((slot for slot in slots if slot.failure is error), None)
            if failed is not None and not isinstance(error, AsyncResourceError):
                # Where nobody asked in particular, what of these needs it, if anything does.
                chain = graph.chain(failed.node.key, asked or [slot.node.key for slot in reversed(slots)])
                _annotate(error, [where, *chain] if asked else chain, graph.container)
            raise


def _annotate(error: BaseException, chain: Iterable[str], container: str) -> None:
    """Name the resource, who needs it, and the container, on an initialiser's own exception."""
    names = list(chain)
    text = f"while opening {container}.{names[-1]}"
    if len(names) > 1:
        text += f" (needed along {' → '.join(names)})"
    add_note(error, text)


def without_loop(slots: Iterable[Slot], needs: Needs) -> tuple[list[Slot], list[Slot]]:
    """Slots, dependencies first, as two lists: those that open without an event loop, and those that are to wait for one.

    What waits are asynchronous ones that are not open, and what needs them.
    """
    here: list[Slot] = []
    waiting: dict[Slot, None] = {}
    for slot in slots:
        unopened = slot.asynchronous and slot.state is not State.OPEN
        if unopened or any(needed in waiting for needed in needs(slot)):
            waiting[slot] = None
        else:
            here.append(slot)
    return here, list(waiting)
