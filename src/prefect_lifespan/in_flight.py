"""The injected calls in flight: a lifespan closes after the last one that runs in it.

A synchronous call in the thread that closes is on that thread's own stack, or has returned: it is not counted, and costs
nothing. Coroutines are, and what runs in other threads. Counting is on their hot path: most is left to who waits.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol
from weakref import WeakSet


class Counts(Protocol):
    """Where calls begin: a scope, which keeps its flight among what it has prepared."""

    prepared: dict[object, Any]

    @property
    def flight(self) -> Flight:
        """Where its calls are counted."""
        ...


class RunningCall:
    """One call, and the one that it was made in: by it, or by a task or thread that it has begun.

    It begins inside two `try`, and ends in a `finally` of the inner one and wherever the outer one is left by an exception:
    one of a signal handler may come before any line, and a call that has not ended would be waited for without end.
    """

    flight: Flight | None = None  # None before and after; no initialiser is faster than one
    outer: RunningCall | None
    thread: int
    where: str

    def begin(self, scope: Counts, where: str) -> None:
        """The call of what is named `where` begins, and is counted where somebody waits."""
        flight = scope.prepared.get(IN_FLIGHT) or scope.flight
        if flight.lifespans:
            outer = _within.get()
            while outer is not None and outer.flight is None:  # that has ended
                outer = outer.outer
            self.outer = outer
            self.thread = get_ident()
            self.where = where
            self.flight = flight
            flight.running.add(self)
            _within.set(self)  # and so it stays: what has ended leads on to what it was made in

    def begin_beside(self, scope: Counts, where: str) -> None:
        """The same for a synchronous call, which is counted in another thread than the one that closes."""
        if scope.flight.is_beside:
            self.begin(scope, where)

    def end(self) -> None:
        """It has ended; that may be said again."""
        flight = self.flight
        if flight is not None:
            flight.running.discard(self)
            if flight.is_awaited:
                flight.tell()
            self.flight = None


IN_FLIGHT = "in flight"  # under it, a scope keeps its flight

_within: ContextVar[RunningCall | None] = ContextVar("prefect_lifespan_running_call", default=None)


class Calls:
    """The calls in flight in one lifespan, for its closing to wait for."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.home = get_ident()  # where it closes
        self.tell = tell
        self._is_awaited = False
        self._flights: WeakSet[Flight] = WeakSet()
        self._lock = threading.Lock()

    def add(self, flight: Flight) -> None:
        """Calls of a scope that it is in force in will be counted there."""
        with self._lock:
            self._flights.add(flight)
            if self._is_awaited:
                flight.is_awaited = True

    def expect(self) -> None:
        """Be told of each end from now on."""
        with self._lock:
            self._is_awaited = True
            for flight in self._flights:
                flight.is_awaited = True

    def left(self, *, in_this_thread: bool | None = None) -> set[RunningCall]:
        """Those that will end by themselves; only those of this thread, or of others, where that is asked for.

        Not those that this caller is in, which may wait for it, nor those of a thread that has ended.
        """
        with self._lock:
            flights = list(self._flights)
        left = {call for flight in flights for call in tuple(flight.running)}
        if not left:
            return left
        left.difference_update(_enclosing())
        threads = {thread.ident for thread in threading.enumerate()}
        if in_this_thread is not None:
            threads = {thread for thread in threads if (thread == get_ident()) is in_this_thread}
        return {call for call in left if call.thread in threads}

    def names(self, *, in_this_thread: bool | None = None) -> list[str]:
        """The same by name, each with its number; what they call in turn goes without saying."""
        left = self.left(in_this_thread=in_this_thread)
        counted = Counter(call.where for call in left if call.outer not in left)
        return [where if number == 1 else f"{where} ({number} times)" for where, number in sorted(counted.items())]


def _enclosing() -> Iterable[RunningCall]:
    call = _within.get()
    while call is not None:
        yield call
        call = call.outer


class Flight:
    """The calls that run in one scope now, counted for each lifespan that is in force in it."""

    __slots__ = ("__weakref__", "home", "is_awaited", "lifespans", "running")

    def __init__(self, lifespans: tuple[Calls, ...]) -> None:
        self.lifespans = lifespans
        self.running: set[RunningCall] = set()
        self.is_awaited = False
        homes = {calls.home for calls in lifespans}
        # The thread whose synchronous calls are not counted; None where nobody waits, 0 where each lifespan has another.
        self.home = (homes.pop() if len(homes) == 1 else 0) if homes else None
        for calls in lifespans:
            calls.add(self)

    @property
    def is_beside(self) -> bool:
        """Whether a synchronous call here runs beside the thread that closes."""
        return self.home is not None and self.home != get_ident()

    def tell(self) -> None:
        """A call has ended that somebody waits for, perhaps."""
        for calls in self.lifespans:
            calls.tell()
