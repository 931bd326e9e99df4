"""One resource of one engine: its state, and who may change it.

Exactly one opener holds the claim to an opening; everybody else waits for its future. Where it lives, in whichever thread
or task, is its place.

Each change may be interrupted before any of its lines, by a signal's handler that raises. So a change ends with the
one line that makes it count, what stands before that may be done again, and who waits is told last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from prefect_lifespan.engine.events import Event, Kind
from prefect_lifespan.engine.openings import Openings
from prefect_lifespan.engine.places.place import Place
from prefect_lifespan.engine.schedule.limits import OwnTime
from prefect_lifespan.engine.schedule.states import Change, State, after
from prefect_lifespan.errors import LifespanClosedError, LifespanError
from prefect_lifespan.graph import Node
from prefect_lifespan.graph.edges import overriding_of
from prefect_lifespan.lifetimes import Policy, policy_of
from prefect_lifespan.masking import told
from prefect_lifespan.steps import under

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

_DONE: Future[None] = Future()
_DONE.set_result(None)


class Abandoned(Exception):
    """An opening ended without a result of its own (interrupted, cancelled): whoever waits may claim it anew."""


class Claimant:
    """Who opens something, and where: only one that stays in its thread has a thread, only one on a loop a loop."""

    def __init__(self, *, thread: int | None = None, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.thread = thread
        self.loop = loop


# The slots whose initialisers the current call runs in, outermost first.
being_opened: ContextVar[tuple[Slot, ...]] = ContextVar("being_opened", default=())


class Slot:
    """One resource of one engine. Its openings are those that it belongs to, of its own engine or of another's."""

    def __init__(self, node: Node, openings: Openings, provider: Any) -> None:
        self.node = node
        self.openings = openings
        self.provider = provider
        self.state = State.PENDING
        self.value: object = None
        self.at_hand = False  # whether `value` is what the container's provider gives: open, and not overridden there
        self.place: Place | None = None  # where it lives, once it is being entered
        self.entered_at = 0.0  # by perf_counter
        self.own_time = OwnTime()  # of the attempt to open it that is under way
        self.found_asynchronous = False  # what its initialiser returned was to be entered on an event loop
        self.failure: BaseException | None = None  # of the last attempt to open it
        self._policy: Policy | None = None
        self._failed_with: BaseException | None = None  # while it was open
        self._opening: Future[None] | None = None
        self._claimant: Claimant | None = None  # whose the claim is; still the last one's when that has ended
        self._untold: dict[Future[None], Exception | None] = {}
        self._closer: object = None

    def __repr__(self) -> str:
        return f"<Slot {self.openings.container}.{self.node.path} {self.state.name}>"

    @property
    def policy(self) -> Policy:
        """How this resource is opened and closed: its initialiser's word first, then the lifespan's."""
        if self._policy is None:
            self._policy = policy_of(self.provider.provides).over(self.openings.defaults)
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def asynchronous(self) -> bool:
        """Whether it is opened on an event loop: told by its initialiser's kind, or found out when it was opened."""
        return self.node.is_async or self.found_asynchronous

    @property
    def path(self) -> str:
        """The resource's name with its container's, as messages give it."""
        return f"{self.openings.container}.{self.node.path}"

    def closed_error(self) -> LifespanClosedError:
        """The error for a use that comes too late."""
        openings, failure = self.openings, self._failed_with
        if openings.ended:
            return LifespanClosedError(self.path, openings.ended_with)
        if failure is None:
            return LifespanClosedError(self.path, openings.name, shut_down=True)
        error = LifespanClosedError(self.path, openings.name, told(failure))
        error.__cause__ = failure
        return error

    # Opening

    @property
    def is_left_by_this_thread(self) -> bool:
        """Whether this thread holds the claim, and is not at the opening any more."""
        claimant = self._claimant if self.state is State.OPENING else None
        return claimant is not None and claimant.thread == threading.get_ident() and self not in being_opened.get()

    def is_claimed_by(self, claimant: Claimant) -> bool:
        """Whether `claimant` has the claim to an opening that has not ended."""
        return self.state is State.OPENING and self._claimant is claimant

    def opens_on(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether only that event loop can bring an opening that is under way to its end."""
        claimant = self._claimant if self.state is State.OPENING else None
        return loop is not None and claimant is not None and claimant.loop is loop

    def claim(self, claimant: Claimant) -> Future[None] | None:
        """Claim the opening: None when it is the caller's, a future when it is open already or somebody else's.

        Raises:
            LifespanClosedError: it has closed.
            LifespanError: its own initialiser asks for it.
        """
        if self.state is State.OPENING and self in being_opened.get():
            raise LifespanError(f"{self.path} was asked for by its own initialiser; it is not open before that returns")
        return under(self.openings.lock, self._claim, claimant)

    def _claim(self, claimant: Claimant) -> Future[None] | None:
        if self.state in (State.OPEN, State.OPENING):
            return self._future()
        if self.openings.ended or self.state is not State.PENDING:
            raise self.closed_error()
        self.openings.opening.add(self)
        self._claimant = claimant
        self.state = after(self.state, Change.CLAIMED, self.node.path)
        return None

    def _future(self) -> Future[None]:
        # Made when somebody waits, which most openings are spared: a future is a kilobyte.
        if self.state is State.OPEN:
            return _DONE
        if self._opening is None:
            self._opening = Future()
        return self._opening

    @property
    def opening_under_way(self) -> Future[None] | None:
        """The future of the opening that is under way; None when there is none, or no longer."""
        return under(self.openings.lock, self._future_under_way)

    def _future_under_way(self) -> Future[None] | None:
        return self._future() if self.state is State.OPENING else None

    def opened(self) -> bool:
        """It has been entered in its place. False when the lifespan ended meanwhile: exit it, then say `came_late`."""
        is_open = under(self.openings.lock, self._become_open)
        self.tell()
        return is_open

    def _become_open(self) -> bool:
        if self.state is not State.OPENING:
            return self.state is not State.CLOSED  # somebody has said so already
        assert self.place is not None, "what was entered has a place"
        if self.openings.ended:
            return False
        entered = self.place.entered
        self.value = entered.value
        self.failure = None
        self.entered_at = entered.at
        self.openings.keep(self)
        self._end_opening(None)
        self.at_hand = overriding_of(self.provider) is None
        self.state = after(self.state, Change.ENTERED, self.node.path)
        return True

    def came_late(self) -> None:
        """It was entered after the lifespan had ended, and has been exited again: whoever waits may go on."""
        under(self.openings.lock, self._end_with, Change.CAME_LATE, self.closed_error())
        self.tell()

    def failed(self, error: BaseException) -> None:
        """The claimant could not open it; the next one to ask may try again."""
        self.failure = error
        shown = error if isinstance(error, Exception) else Abandoned()
        under(self.openings.lock, self._end_with, Change.FAILED, shown)
        self.tell()

    def _end_with(self, change: Change, shown: Exception) -> None:
        if self.state is State.OPENING:
            self._end_opening(shown)
            self.place = None  # the next one may open it elsewhere
            self.state = after(self.state, change, self.node.path)

    def _end_opening(self, error: Exception | None) -> None:
        if self._opening is not None:
            self._untold[self._opening] = error
        self._opening = None
        self.openings.opening.discard(self)

    def tell(self) -> None:
        """Tell whoever waited; an interruption leaves it to the next one to tell the rest."""
        for future, error in list(self._untold.items()):
            with suppress(InvalidStateError):  # told already
                future.set_result(None) if error is None else future.set_exception(error)
            self._untold.pop(future, None)

    # Closing

    def begin_close(self, closer: object) -> bool:
        """Take it out of use. False when it has been closed, or another closer is at it: each closes exactly once.

        True as well for one that ended by itself, and for a closing of the same closer that was interrupted.
        """
        return under(self.openings.lock, self._begin_close, closer)

    def _begin_close(self, closer: object) -> bool:
        free = self.state is State.CLOSING and (self._closer is None or self._closer is closer)
        if self.state is State.OPEN or free:
            self._take_out_of_use()
            self.value = None
            self._closer = closer
            return True
        return False

    def ended(self) -> None:
        """It ends by itself, without a closer: one that comes finds out how that went."""
        under(self.openings.lock, self._take_out_of_use)

    def failed_while_open(self, error: BaseException) -> None:
        """It is of no use any more, and waits for its closer."""
        self._failed_with = error
        self.ended()
        self.event("failed", perf_counter() - self.entered_at, error)

    def _take_out_of_use(self) -> None:
        if self.state is State.OPEN:
            self.at_hand = False  # before the value goes: whoever read it and then sees this true has a good one
            self.state = after(self.state, Change.TAKEN_OUT_OF_USE, self.node.path)
            self.value = None

    def closed(self) -> None:
        """It has closed, well or badly."""
        if self.state is State.CLOSING:
            self.state = after(self.state, Change.CLOSED, self.node.path)
        self.place = self._failed_with = None

    def begin_anew(self) -> object:
        """In a forked child: whoever has got hold of the parent's own is told so. Gives what is the parent's."""
        lefts = self.value, self.place
        self.at_hand = False
        self.state = after(self.state, Change.FORKED, self.node.path)
        self.value = self.place = self._opening = self._closer = self._claimant = None
        self._untold = {}
        return lefts

    def event(
        self, kind: Kind, seconds: float, error: BaseException | None = None, outcome: BaseException | None = None
    ) -> None:
        """Report an opening or closing of this resource."""
        openings, node = self.openings, self.node
        openings.emit(
            Event(
                kind,
                openings.container,
                node.path,
                seconds,
                error,
                outcome,
                lifetime=node.lifetime,
                lifespan=openings.name,
                number=openings.number,
                opening=self,
            )
        )


def while_opening(slot: Slot, function: Callable[[], T]) -> T:
    """What `function` returns, during which `slot` counts as being opened by this call, also in contexts made meanwhile."""
    outer = being_opened.get()
    try:
        try:
            being_opened.set((*outer, slot))
            return function()
        finally:
            being_opened.set(outer)
    finally:  # where a signal has interrupted that
        being_opened.set(outer)
