"""One resource of one engine, and what all of them share: the schedule's states with a lock, futures, a value and a log."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Container, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Protocol, TypeVar, TypeVarTuple

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
from prefect_lifespan.engine.initialiser import Entered, Outcome
from prefect_lifespan.engine.keepers import Keeper, Keepers
from prefect_lifespan.engine.schedule.claim import Claim
from prefect_lifespan.engine.schedule.standing import Schedule, Standing
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.threads import Threads
from prefect_lifespan.errors import LifespanClosedError, LifespanError
from prefect_lifespan.forks import left_to_the_parent
from prefect_lifespan.graph import Node
from prefect_lifespan.graph.edges import overriding_of
from prefect_lifespan.lifetimes import Policy, policy_of
from prefect_lifespan.masking import summary_of
from prefect_lifespan.signal_safe import Promise

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

lifespan_numbers: itertools.count[int] = itertools.count(1)
slot_numbers: itertools.count[int] = itertools.count(1)

# The slots whose initialisers the current call runs in, outermost first.
being_opened: ContextVar[tuple[Slot, ...]] = ContextVar("being_opened", default=())


class Place(Protocol):
    """Where one attempt enters a resource, and where that is exited; three kinds, in `places`."""

    entered: Entered

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that an asynchronous resource lives on."""
        ...

    def begin_exit(self, outcome: Outcome) -> Future[None] | None:
        """Exit it: done when the future is, or, without one, on return, where its error is raised."""
        ...

    def cancel_exit(self) -> None:
        """Let an exit that is under way come to its end, where that can be done."""
        ...

    def leave_open(self) -> list[str]:
        """Wait no longer for its exit; the paths of others that it waits for itself."""
        ...


class SharedSchedule(Schedule):
    """What all slots of one engine share: the thread and the event loop that it belongs to, its threads, its observers."""

    def __init__(
        self,
        container: str,
        name: str,
        *,
        defaults: Policy,
        max_workers: int,
        told: tuple[Observers, ...],
        loop: asyncio.AbstractEventLoop | None,
        above: SharedSchedule | None = None,
    ) -> None:
        super().__init__(container, above)
        self.name: str = name
        # Counts lifespans; what stands on one, as a task's view does, has the number of that.
        self.number: int = next(lifespan_numbers) if above is None else above.number
        self._named_above = above
        self.defaults = defaults
        self.max_workers = max_workers
        self.lock: threading.Lock = threading.Lock()
        # None: whoever opens, it is in a thread of its own, because the caller's may be gone when it closes.
        self.home_thread: int | None = threading.get_ident()
        self.loop = loop
        self.left_after: object = None  # the calls that it closes after, when the last of them has ended
        self.owner: asyncio.Task[Any] | None = None  # on `loop`: what it does ends with closing
        self.threads: Threads = Threads(f"lifespan-{container}", max_workers)
        self.keepers: Keepers = Keepers()
        self._told = (*told, observers)
        # Where it is None, whoever is in need when something happens.
        self.whose: Whose | None = whose.here()

    def alone(self, change: Callable[[*Ts], T], *args: *Ts) -> T:
        """What a change returns, made while nobody else makes one."""
        # On one line, as in `signal_safe`.
        with self.lock: return change(*args)  # noqa: E701 # fmt: skip

    @property
    def at_home(self) -> bool:
        """Whether the caller runs in the thread that the lifespan was opened in."""
        return threading.get_ident() == self.home_thread

    def is_left_by(self, late_for: Container[object]) -> bool:
        """Whether what is open closes under a call that is late for these, its own or that of the lifespan that it stands on."""
        above = self._named_above
        return self.left_after in late_for or (above is not None and above.is_left_by(late_for))

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the task that the lifespan was opened in is being cancelled, so that closing is near."""
        return self.owner is not None and not self.owner.done() and self.owner.cancelling() > 0

    @property
    def has_owner(self) -> bool:
        """Whether the task that the lifespan was opened in has not ended, so that it may still close it."""
        return self.owner is not None and not self.owner.done()

    def interrupted_here(self) -> list[Slot]:
        """Openings that this thread has claimed and is no longer at: an exception has taken it out of them."""
        return [slot for slot in list(self.opening) if slot.is_left_by_this_thread]

    @property
    def ended_with(self) -> str:
        """The name of what has ended: its own, or of the lifespan that it stands on."""
        return self.name if self._ended or self._named_above is None else self._named_above.ended_with

    def begin_anew(self, slots: Iterable[Slot]) -> None:
        """In a forked child: what is open belongs to the parent, and is neither used, closed nor finalised here."""
        left_to_the_parent([(slot.value, slot.place) for slot in {*self.opened, *self.opening}])
        self.name += ", which stays in the process that this one was forked from,"
        self.lock, self.threads = threading.Lock(), Threads(f"lifespan-{self.container}", self.max_workers)
        self.opened: list[Any] = []
        self.opening: set[Any] = set()
        self._ended = True
        for slot in slots:
            if slot.schedule is self:
                slot.begin_anew()

    def hear(self, level: int) -> bool:
        """Whether anybody hears of what happens, at a level of the log's."""
        if watchers:
            return True
        for each in self._told:  # noqa: SIM110 - a generator would be a call for each
            if each.observers and each.hear(level):
                return True
        return False

    def emit(self, happening: Happening) -> None:
        """Tell the log, the observers of the lifespan, and those of the process."""
        for each in self._told:
            each.tell(happening.event)
        for watcher in list(watchers):
            watcher(happening)


class Slot(Standing):
    """One resource of one engine."""

    schedule: SharedSchedule
    value: object = None
    # Whether `value` is what the container's provider gives: open, and not overridden there.
    at_hand: bool = False
    place: Place | None = None
    opened_on: asyncio.AbstractEventLoop | None = None  # where the driver of an opening under way runs
    _attempt = 1  # which attempt at opening it events tell of

    def __init__(self, node: Node, schedule: SharedSchedule, provider: Any) -> None:
        super().__init__(f"{schedule.container}.{node.path}", schedule)
        self.node = node
        self.number: int = next(slot_numbers)
        self.provider = provider  # a ManagedResource
        # Whether it is opened on an event loop: told by its initialiser's kind, or found out when it was opened.
        self.asynchronous: bool = node.is_async

    def __repr__(self) -> str:
        return f"<Slot {self.path} {self.state.name}>"

    def own_policy(self) -> Policy:
        """How this resource is opened and closed: its initialiser's word first, then the lifespan's."""
        return policy_of(self.provider.initialiser).over(self.schedule.defaults)

    def closed_error(self) -> LifespanClosedError:
        """The error for a use that comes too late."""
        schedule, failure = self.schedule, self.failed_with
        if schedule.ended:
            return LifespanClosedError(self.path, schedule.ended_with)
        if failure is None:
            return LifespanClosedError(self.path, schedule.name, shut_down=True)
        error = LifespanClosedError(self.path, schedule.name, summary_of(failure))
        error.__cause__ = failure
        return error

    @property
    def is_left_by_this_thread(self) -> bool:
        """Whether this thread holds the claim, and is not at the opening any more."""
        claim = self.claim
        claimed_here = claim is not None and claim.thread == threading.get_ident()
        return self.state is State.OPENING and claimed_here and self not in being_opened.get()

    def refuse_to_wait(self) -> None:
        """Refuse its own initialiser, which would wait for itself."""
        if self in being_opened.get():
            raise LifespanError(f"{self.path} was asked for by its own initialiser; it is not open before that returns")

    def may_be_tried_again(self, error: Exception) -> bool:
        """Whether another attempt to open it may come to another end."""
        # An argument that cannot be made, such as a setting that is missing, is not there in a second either.
        return not self.schedule.ended and self.provider.argument_failure is not error

    def new_waiter(self) -> Future[None]:
        """What callers wait with: a future, which is a kilobyte, so it is made when the first one waits."""
        return Promise()

    def wake(self, waiter: Future[None], error: Exception | None) -> None:
        """The opening has ended."""
        with suppress(InvalidStateError):  # told already
            waiter.set_result(None) if error is None else waiter.set_exception(error)

    def take_into_use(self) -> None:
        """It is open: its value may be had."""
        assert self.place is not None, "what is open was entered in a place"
        self.value = self.place.entered.value
        self.at_hand = self.provider.last_overriding is None

    def kept_by(self, keeper: Keeper) -> None:
        """Its value may be kept from now on, if it is at hand still: whoever keeps it is told when it is withdrawn."""
        self.schedule.alone(self.schedule.keepers.add, keeper)

    def withdraw(self) -> None:
        """Let its value not be given any more, by its provider or by who keeps it; under the lock of its schedule."""
        self.at_hand = False  # before the value goes: whoever read it and then sees this true has a good one
        self.schedule.keepers.withdraw()

    def forget_value(self) -> None:
        """It is not open any more."""
        self.value = None

    def let_go(self) -> None:
        """The next attempt may be made elsewhere."""
        self.place = self.opened_on = None

    def overridden(self) -> None:
        """Another provider stands in for it in the container instance, or does so no longer."""
        self.at_hand = self.state is State.OPEN and overriding_of(self.provider) is None

    def failed_while_open(self, error: BaseException) -> None:
        """It is of no use any more, and waits for its closer."""
        self.failed_with: BaseException | None = error
        self.ended()
        self.event("failed", perf_counter() - self.opened_at, error)

    def begin_anew(self) -> None:
        """In a forked child: whoever has got hold of the parent's own is told so."""
        self.withdraw()
        self.state = State.CLOSED
        self.claim: Claim | None = None
        self.value = self.place = self._waiter = self._closer = None
        self._to_wake = None

    def event(
        self, kind: Kind, seconds: float, error: BaseException | None = None, outcome: BaseException | None = None
    ) -> None:
        """Report an opening or closing of this resource, where somebody hears of it."""
        schedule, node = self.schedule, self.node
        if schedule.hear(level_of(kind, node.lifetime)):
            event = Event(
                kind,
                schedule.container,
                node.path,
                seconds,
                lifetime=node.lifetime,
                lifespan=schedule.name,
                number=schedule.number,
                opening=opening_of(self.number),
                whose=schedule.whose or whose.here(),
                attempt=self._attempt,
                **said_of(error, outcome),
            )
            schedule.emit(Happening(event, self, error, outcome))
        if kind == "open-retried":
            self._attempt += 1


Needs = Callable[[Slot], Iterable[Slot]]
