"""One resource of one opening: its state, and who may change it.

    PENDING → OPENING → OPEN → CLOSING → CLOSED
        ↑_________|        an opening that failed can be tried again

Exactly one thread or task holds the claim to an opening; everybody else waits for its future. The ledger records the
order in which slots finished opening, which is what closing reverses.

Each change may be interrupted before any of its lines, by a signal's handler that raises. So a change ends with the
one line that makes it count, what stands before that may be done again, and who waits is told last.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar
from enum import Enum, auto
from functools import cached_property
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prefect_lifespan.engine.clocks import Clock
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.events import (
    Event,
    Happening,
    Kind,
    Observers,
    Whose,
    level_of,
    observers,
    opening_of,
    said_of,
    watchers,
    whose,
)
from prefect_lifespan.engine.initialiser import Entered
from prefect_lifespan.engine.keepers import Keeper, Keepers
from prefect_lifespan.engine.lanes import Lane, Lanes
from prefect_lifespan.errors import LifespanClosedError, LifespanError
from prefect_lifespan.forks import left_to_the_parent
from prefect_lifespan.graph import Node
from prefect_lifespan.graph.edges import overriding_of
from prefect_lifespan.lifetimes import Policy, policy_of
from prefect_lifespan.masking import told
from prefect_lifespan.steps import under

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from prefect_lifespan.engine.closing import CloseReport
    from prefect_lifespan.engine.host import Host
    from prefect_lifespan.engine.managed import ManagedResource


class State(Enum):
    """Where a slot stands."""

    PENDING = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


lifespan_numbers = itertools.count(1)
slot_numbers = itertools.count(1)
_DONE: Future[None] = Future()
_DONE.set_result(None)


class Abandoned(Exception):
    """An opening ended without a result of its own (interrupted, cancelled): whoever waits may claim it anew."""


# The slots whose initialisers the current call runs in, outermost first.
being_opened: ContextVar[tuple[Slot, ...]] = ContextVar("being_opened", default=())


class Ledger:
    """What all slots of one opening share: its home, its lock, the order of opening, whether it has ended."""

    def __init__(
        self,
        container: str,
        name: str,
        *,
        defaults: Policy,
        max_workers: int,
        told: tuple[Observers, ...],
        loop: asyncio.AbstractEventLoop | None,
        above: Ledger | None = None,
    ) -> None:
        self.container = container
        self.name = name
        # Counts lifespans; what stands on one, as a task's view does, has the number of that.
        self.number = next(lifespan_numbers) if above is None else above.number
        self._above = above  # of the lifespan that this one stands on, whose end is its end too
        self.defaults = defaults
        self.max_workers = max_workers
        self.lock = threading.Lock()
        # None: whoever opens, it is in a lane, because the thread may be gone when it closes.
        self.home_thread: int | None = threading.get_ident()
        self.loop = loop
        self.owner: asyncio.Task[Any] | None = None  # on `loop`: what it does ends with closing
        self.lanes = Lanes(f"lifespan-{container}", max_workers)
        self._ended = False
        self._ending: CloseReport | None = None
        self.opened: list[Slot] = []
        self.opening: set[Slot] = set()
        self.keepers = Keepers()
        self._told = (*told, observers)
        # Where it is None, whoever is in need when something happens.
        self.whose: Whose | None = whose.here()

    @property
    def at_home(self) -> bool:
        """Whether the caller runs in the thread that the lifespan was opened in."""
        return threading.get_ident() == self.home_thread

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the task that the lifespan was opened in is being cancelled, so that closing is near."""
        return self.owner is not None and not self.owner.done() and self.owner.cancelling() > 0

    @property
    def has_owner(self) -> bool:
        """Whether the task that the lifespan was opened in has not ended, so that it may still close it."""
        return self.owner is not None and not self.owner.done()

    def end(self, ending: CloseReport | None = None) -> None:
        """Refuse openings from now on; what is under way closes by itself, and `ending` hears of it."""
        under(self.lock, self._end, ending)

    def _end(self, ending: CloseReport | None) -> None:
        self._ended, self._ending = True, ending

    def interrupted_here(self) -> list[Slot]:
        """Openings that this thread has claimed and is no longer at: an exception has taken it out of them."""
        return [slot for slot in list(self.opening) if slot.is_left_by_this_thread]

    @property
    def ending(self) -> CloseReport | None:
        """What comes of closing, where that has begun: here, or for the lifespan that this one stands on."""
        return self._ending if self._ending is not None or self._above is None else self._above.ending

    @property
    def ended(self) -> bool:
        """Whether nothing is opened any more."""
        return self._ended or (self._above is not None and self._above.ended)

    @property
    def ended_with(self) -> str:
        """The name of what has ended: its own, or of the lifespan that it stands on."""
        return self.name if self._ended or self._above is None else self._above.ended_with

    def begin_anew(self, slots: Iterable[Slot]) -> None:
        """In a forked child: what is open belongs to the parent, and is neither used, closed nor finalised here."""
        left_to_the_parent([(slot.value, slot.entered, slot.host, slot.lane) for slot in {*self.opened, *self.opening}])
        self.name += ", which stays in the process that this one was forked from,"
        self.lock, self.lanes = threading.Lock(), Lanes(f"lifespan-{self.container}", self.max_workers)
        self.opened, self.opening, self._ended = [], set(), True
        for slot in slots:
            if slot.ledger is self:
                slot.begin_anew()

    def hear(self, level: int) -> bool:
        """Whether anybody hears of what happens, at a level of the log's."""
        return bool(watchers) or any(each.hear(level) for each in self._told)

    def emit(self, happening: Happening) -> None:
        """Tell the log, the observers of the lifespan, and those of the process."""
        for each in self._told:
            each.tell(happening.event)
        for watcher in list(watchers):
            watcher(happening)


class Slot:
    """One resource of one opening."""

    def __init__(self, node: Node, ledger: Ledger, provider: ManagedResource) -> None:
        self.node = node
        self.number = next(slot_numbers)
        self._attempt = 1
        self.ledger = ledger
        self.provider = provider
        self.state = State.PENDING
        self.value: object = None
        self.at_hand = False  # whether `value` is what the container's provider gives: open, and not overridden there
        self.entered: Entered | None = None
        self.entered_at = 0.0  # by perf_counter
        self.clock = Clock()  # of the attempt to open it that is under way
        self.lane: Lane | None = None
        self.context: ResourceContext | None = None  # None: the context of whoever opened the lifespan
        self.host: Host | None = None  # of an asynchronous resource
        self.loop: asyncio.AbstractEventLoop | None = None  # which drives an opening that is under way
        self.found_asynchronous = False  # what its initialiser returned was to be entered on an event loop
        self.failure: BaseException | None = None  # of the last attempt to open it
        self._failed_with: BaseException | None = None  # while it was open
        self._opening: Future[None] | None = None
        self._claimed_by: object = None  # who stays at the opening until it has ended: a thread, an opening on a loop
        self._untold: dict[Future[None], Exception | None] = {}
        self._closer: object = None

    def __repr__(self) -> str:
        return f"<Slot {self.ledger.container}.{self.node.path} {self.state.name}>"

    @cached_property
    def policy(self) -> Policy:
        """How this resource is opened and closed: its initialiser's word first, then the lifespan's."""
        return policy_of(self.provider.provides).over(self.ledger.defaults)

    @property
    def asynchronous(self) -> bool:
        """Whether it is opened on an event loop: told by its initialiser's kind, or found out when it was opened."""
        return self.node.is_async or self.found_asynchronous

    @property
    def path(self) -> str:
        """The resource's name with its container's, as messages give it."""
        return f"{self.ledger.container}.{self.node.path}"

    def closed_error(self) -> LifespanClosedError:
        """The error for a use that comes too late."""
        ledger, failure = self.ledger, self._failed_with
        if ledger.ended:
            return LifespanClosedError(self.path, ledger.ended_with)
        if failure is None:
            return LifespanClosedError(self.path, ledger.name, shut_down=True)
        error = LifespanClosedError(self.path, ledger.name, told(failure))
        error.__cause__ = failure
        return error

    @property
    def is_left_by_this_thread(self) -> bool:
        """Whether this thread holds the claim, and is not at the opening any more."""
        return (
            self.state is State.OPENING and self._claimed_by == threading.get_ident() and self not in being_opened.get()
        )

    def is_claimed_by(self, holder: object) -> bool:
        """Whether `holder` has the claim to an opening that has not ended."""
        return self.state is State.OPENING and self._claimed_by is holder

    def claim(self, *, blocking: bool = False, holder: object = None) -> Future[None] | None:
        """Claim the opening: None when it is the caller's, a future when it is open already or somebody else's.

        A `blocking` caller stays at it until it has ended: found elsewhere, its thread has been interrupted. Any other
        `holder` finds by `is_claimed_by` what it has been interrupted in.

        Raises:
            LifespanClosedError: it has closed.
            LifespanError: its own initialiser asks for it.
        """
        if self.state is State.OPENING and self in being_opened.get():
            raise LifespanError(f"{self.path} was asked for by its own initialiser; it is not open before that returns")
        return under(self.ledger.lock, self._claim, threading.get_ident() if blocking else holder)

    def _claim(self, holder: object) -> Future[None] | None:
        if self.state in (State.OPEN, State.OPENING):
            return self._future()
        if self.ledger.ended or self.state is not State.PENDING:
            raise self.closed_error()
        self.ledger.opening.add(self)
        self._claimed_by = holder
        self.state = State.OPENING
        return None

    @property
    def opening(self) -> Future[None]:
        """The future of the opening that is under way or done."""
        return under(self.ledger.lock, self._future)

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
        return under(self.ledger.lock, self._future_under_way)

    def _future_under_way(self) -> Future[None] | None:
        return self._future() if self.state is State.OPENING else None

    def opened(self) -> bool:
        """The claim holder has entered it. False when the lifespan ended meanwhile: close it, then say `came_late`."""
        is_open = under(self.ledger.lock, self._become_open)
        self.tell()
        return is_open

    def _become_open(self) -> bool:
        assert self.entered is not None, "what is open was entered"
        if self.ledger.ended:
            return False
        if self.state is State.OPENING:
            self.value = self.entered.value
            self.failure = self.loop = None
            self.entered_at = self.entered.at
            # By when it was entered, in its lane perhaps, not by when the one who waited for it came to tell.
            bisect.insort(self.ledger.opened, self, key=attrgetter("entered_at"))
            self._end_opening(None)
            self.at_hand = overriding_of(self.provider) is None
            self.state = State.OPEN
        return True

    def came_late(self) -> None:
        """It was entered after the lifespan had ended, and has been closed again: whoever waits may go on."""
        under(self.ledger.lock, self._become, State.CLOSED, self.closed_error())
        self.tell()

    def failed(self, error: BaseException) -> None:
        """The claim holder could not open it; the next one to ask may try again."""
        self.failure = error
        told = error if isinstance(error, Exception) else Abandoned()
        under(self.ledger.lock, self._become, State.PENDING, told)
        self.tell()

    def _become(self, state: State, told: Exception) -> None:
        if self.state is State.OPENING:
            self._end_opening(told)
            # The next one may open it elsewhere.
            self.entered = self.lane = self.context = self.host = self.loop = None
            self.state = state

    def _end_opening(self, error: Exception | None) -> None:
        if self._opening is not None:
            self._untold[self._opening] = error
        self._opening = None
        self.ledger.opening.discard(self)

    def tell(self) -> None:
        """Tell whoever waited; an interruption leaves it to the next one to tell the rest."""
        for future, error in list(self._untold.items()):
            with suppress(InvalidStateError):  # told already
                future.set_result(None) if error is None else future.set_exception(error)
            self._untold.pop(future, None)

    def begin_close(self, closer: object) -> bool:
        """Take it out of use. False when it has been closed, or another closer is at it: each closes exactly once.

        True as well for one that ended by itself, and for a closing of the same closer that was interrupted.
        """
        return under(self.ledger.lock, self._begin_close, closer)

    def _begin_close(self, closer: object) -> bool:
        free = self.state is State.CLOSING and (self._closer is None or self._closer is closer)
        if self.state is State.OPEN or free:
            self._take_out_of_use()
            self._closer = closer
            return True
        return False

    def ended(self) -> None:
        """It ends by itself, without a closer: one that comes finds out how that went."""
        under(self.ledger.lock, self._end)

    def _end(self) -> None:
        if self.state is State.OPEN:
            self._take_out_of_use()

    def failed_while_open(self, error: BaseException) -> None:
        """It is of no use any more, and waits for its closer."""
        self._failed_with = error
        self.ended()
        self.event("failed", perf_counter() - self.entered_at, error)

    def kept_by(self, keeper: Keeper) -> None:
        """Its value may be kept from now on, if it is at hand still: whoever keeps it is told when it is withdrawn."""
        under(self.ledger.lock, self.ledger.keepers.add, keeper)

    def withdraw(self) -> None:
        """Let its value not be given any more, by its provider or by who keeps it; under the lock of its ledger."""
        self.at_hand = False  # before the value goes: whoever read it and then sees this true has a good one
        self.ledger.keepers.withdraw()

    def _take_out_of_use(self) -> None:
        self.withdraw()
        self.state = State.CLOSING
        self.value = None

    def begin_anew(self) -> None:
        """In a forked child: whoever has got hold of the parent's own is told so."""
        self.withdraw()
        self.state = State.CLOSED
        self.value = self.entered = self.context = self.host = self.lane = self._opening = self._closer = None
        self._claimed_by = None
        self._untold = {}

    def closed(self) -> None:
        """It has closed, well or badly."""
        self.state = State.CLOSED
        self.entered = self.context = self.host = self._failed_with = None

    def event(
        self, kind: Kind, seconds: float, error: BaseException | None = None, outcome: BaseException | None = None
    ) -> None:
        """Report an opening or closing of this resource, where somebody hears of it."""
        ledger, node = self.ledger, self.node
        if ledger.hear(level_of(kind, node.lifetime)):
            event = Event(
                kind,
                ledger.container,
                node.path,
                seconds,
                lifetime=node.lifetime,
                lifespan=ledger.name,
                number=ledger.number,
                opening=opening_of(self.number),
                whose=ledger.whose or whose.here(),
                attempt=self._attempt,
                **said_of(error, outcome),
            )
            ledger.emit(Happening(event, self, error, outcome))
        if kind == "open-retried":
            self._attempt += 1
