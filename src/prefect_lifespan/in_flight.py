"""The injected calls in flight: a lifespan closes after the last one that runs in it.

A synchronous call in the thread that closes is on that thread's own stack, or has returned: it is not counted, and costs
nothing. So is a coroutine that the asyncio task which closes awaits itself. All others are counted: what runs in other
tasks and threads. Counting is on their hot path: most is left to who waits.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from asyncio import AbstractEventLoop, current_task, get_running_loop
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakSet

from prefect_lifespan.signal_safe import under
from prefect_lifespan.waiters import waiting_for_this_task

S = TypeVar("S")

NOBODY = object()  # in the place of an asyncio task, or of an event loop, that there is not
# The asyncio task that runs on an event loop. In Python 3.11 `current_task` is no function of C's, and takes a quarter of an
# injected call; what it looks in is looked in here (tests/contract/test_asyncio_waiters.py).
task_on: Callable[[Any], object]
if sys.version_info >= (3, 12):
    task_on = current_task
else:
    task_on = cast("Any", asyncio.tasks)._current_tasks.get  # noqa: SLF001


class Home(Protocol):
    """What tells whether this is the thread whose synchronous calls are not counted.

    It is a lock that the thread has taken and never gives back, asked as `threading.Condition` asks its own: that makes no
    number and compares none, and takes a third of the instructions of `get_ident() == home` (tests/contract/test_threads.py).
    """

    def _is_owned(self) -> bool:
        """Whether the calling thread has taken it."""
        ...


def _this_thread() -> Home:
    lock = threading.RLock()
    lock.acquire()
    return cast("Any", lock)


class _Anywhere:
    def _is_owned(self) -> bool:
        return True


ANYWHERE: Home = _Anywhere()
NOWHERE: Home = cast("Any", threading.RLock())  # which nobody takes


class Counts(Protocol):
    """Where calls begin: a scope."""

    @property
    def flight(self) -> Flight:
        """Where its calls are counted."""
        ...


class RunningCall:
    """One call, and the one that it was made in: by it, or by a task or thread that it has begun.

    It is made before two `try`, begins inside them, and ends in a `finally` of the inner one and wherever the outer one is
    left by an exception: one of a signal handler may come before any line, and a call that has not ended would be waited
    for without end. One that has not begun has no attributes: no initialiser is faster than one.
    """

    __slots__ = ("flight", "late_for", "outer", "runs_on", "where")

    flight: Flight | None  # None when it has ended
    # The lifespans that do not wait for it: it has begun after the last call that they close after.
    late_for: tuple[Calls, ...]
    outer: RunningCall | None
    runs_on: (
        AbstractEventLoop | int | None
    )  # its event loop; the thread of a synchronous call; None for what is at home
    where: object  # its text is for a log line

    def begin(self, flight: Flight, where: object) -> bool:
        """The call of the coroutine function that is named `where` begins; whether it is counted, as where somebody waits."""
        if not flight.lifespans:
            return False
        if flight.is_home():
            self.runs_on = None  # each lifespan knows the loop of its thread, and asking takes long
        else:
            try:
                self.runs_on = get_running_loop()
            except RuntimeError:  # nobody knows whether a coroutine that is driven by hand goes on
                return False
        outer = _within.get()
        while outer is not None and outer.flight is None:  # that has ended
            outer = outer.outer
        self.outer = outer
        self.where = where
        self.flight = flight
        flight.running.add(self)
        # Looked at when it is counted: who saw it waits.
        self.late_for = self._late_for(flight) if flight.is_left else ()
        _within.set(self)  # and so it stays: what has ended leads on to what it was made in
        return True

    def begin_beside(self, scope: Counts, where: object) -> bool:
        """The same for a synchronous call; whether it is counted, as it is in another thread than the one that closes."""
        flight = scope.flight
        if flight.is_home():
            return False
        self._count_here(flight, where)
        self.late_for = self._late_for(flight) if flight.is_left else ()
        _within.set(self)
        return True

    def _count_here(self, flight: Flight, where: object) -> None:
        """From now on it runs in this thread, made in what this is in."""
        self.outer = next(_enclosing(), None)
        self.runs_on = get_ident()
        self.where = where
        self.flight = flight
        flight.running.add(self)

    def submit(self, flight: Flight, submit: Callable[[], S]) -> S:
        """Submit a task, which is made in this call from then on, and not in the one that this is in: that may end before.

        It is in flight until `submit` has returned, which lets the lifespans wait for the task; the end is the task's.
        """
        self._count_here(flight, "the submission of a task")
        # Late also where a closing itself submits: it does not wait for tasks any more.
        self.late_for = self._not_let_in([calls for calls in flight.lifespans if calls.is_left])
        before = _within.get()
        try:
            _within.set(self)
            return submit()
        finally:
            _within.set(before)
            flight.running.discard(self)
            if flight.is_awaited:
                flight.tell()

    def _late_for(self, flight: Flight) -> tuple[Calls, ...]:
        """The lifespans that let nobody in any more, but for those that call themselves, or wait for what this is made in."""
        left = [calls for calls in flight.lifespans if calls.is_left and not calls.closes_here(self.runs_on)]
        return self._not_let_in(left)

    def _not_let_in(self, left: list[Calls]) -> tuple[Calls, ...]:
        for outer in _chain(self.outer) if left else ():
            left = [calls for calls in left if not outer.lets_in(calls)]
        return tuple(left)

    def lets_in(self, calls: Calls) -> bool:
        """Whether what is made in it is in time for a lifespan: that waits for it, or ends it by closing."""
        flight = self.flight
        return flight is _OF_RESOURCES or (
            flight is not None and calls in flight.lifespans and not self.is_late_for(calls)
        )

    def is_late_for(self, calls: Calls) -> bool:
        """Whether it has begun after the last call that a lifespan closes after."""
        return calls in getattr(self, "late_for", ())  # another thread may look before that is known

    def end(self) -> None:
        """It has ended; that may be said again, and of one that has not begun."""
        try:
            flight = self.flight
        except AttributeError:
            return
        if flight is not None:
            flight.running.discard(self)
            if flight.is_awaited:
                flight.tell()
            self.flight = None


_within: ContextVar[RunningCall | None] = ContextVar("prefect_lifespan_running_call", default=None)


def _enclosing() -> Iterator[RunningCall]:
    """The calls that this is in, innermost first."""
    yield from _chain(_within.get())


def _waiting() -> Iterator[RunningCall]:
    """The calls that wait for the asyncio task that this runs in."""
    for context in waiting_for_this_task():
        yield from _chain(context.get(_within))


def _chain(call: RunningCall | None) -> Iterator[RunningCall]:
    while call is not None:
        if call.flight is not None:
            yield call
        call = call.outer


def begin_what_closing_ends() -> None:
    """From now on in this context, calls are not waited for: a resource begins them, and ends them when it closes."""
    opening = RunningCall()
    opening.outer = _within.get()
    opening.where = "the opening of a resource"
    opening.runs_on = 0
    opening.flight = _OF_RESOURCES
    _within.set(opening)


class Calls:
    """The calls in flight in one lifespan, for its closing to wait for."""

    def __init__(self, tell: Callable[[], None], loop: AbstractEventLoop | None) -> None:
        self.thread: int = get_ident()  # where it closes
        self.home: Home = _this_thread()
        self.task: object = (loop and current_task(loop)) or NOBODY  # which does so
        self.loop = loop  # that runs there
        self.tell = tell
        self.is_awaited: bool = False  # by who closes the lifespan, who is told of each end
        self.is_left: bool = False  # by the last call: what begins now is late
        self._flights: WeakSet[Flight] = WeakSet()
        self._lock = threading.Lock()

    def add(self, flight: Flight) -> None:
        """Calls of a scope that it is in force in will be counted there."""
        under(self._lock, self._add, flight)

    def _add(self, flight: Flight) -> None:
        self._flights.add(flight)
        if self.is_awaited:
            flight.is_awaited = True
        if self.is_left:
            flight.is_left = True

    def expect(self) -> None:
        """Be told of each end from now on."""
        under(self._lock, self._expect)

    def _expect(self) -> None:
        self.is_awaited = True
        for flight in self._flights:
            flight.is_awaited = True

    def let_nobody_in(self) -> None:
        """A call that begins from now on is late, unless it is made in one that began before."""
        under(self._lock, self._let_nobody_in)

    def _let_nobody_in(self) -> None:
        self.is_left = True
        for flight in self._flights:
            flight.is_left = True

    def left(self, held_up: AbstractEventLoop | None) -> set[RunningCall]:
        """Those that will end by themselves while this caller waits, and holds up an event loop perhaps."""
        return {call for call in self._others() if self._goes_on(call, held_up)}

    def standing(self, held_up: AbstractEventLoop | None) -> list[str]:
        """Those that cannot go on meanwhile, by name: their event loop does not run. One that has closed is forgotten."""
        others = self._others()
        return _names({c for c in others if not self._goes_on(c, held_up) and not self._is_forgotten(c)})

    def names(self) -> list[str]:
        """Those that have not ended, by name, each with its number; what they call in turn goes without saying."""
        return _names({call for call in self._others() if not self._is_forgotten(call)})

    def _others(self) -> set[RunningCall]:
        """All but those that are late, that this caller is in, or that wait for it, and those that closing ends."""
        flights = under(self._lock, list[Flight], self._flights)
        others = {call for flight in flights for call in tuple(flight.running) if not call.is_late_for(self)}
        if others:
            others.difference_update(_enclosing(), _waiting())
        return {call for call in others if all(each.flight is not _OF_RESOURCES for each in _chain(call))}

    def closes_here(self, runs_on: AbstractEventLoop | int | None) -> bool:
        """Whether it is the closing itself that calls: in its own thread, and where an event loop runs there in its task."""
        if self.thread != get_ident():
            return False
        if isinstance(runs_on, int) or self.loop is None:
            return True
        try:
            return self.task is task_on(get_running_loop())
        except RuntimeError:  # a coroutine that is driven by hand
            return True

    def _goes_on(self, call: RunningCall, held_up: AbstractEventLoop | None) -> bool:
        if isinstance(call.runs_on, int):
            return call.runs_on != get_ident()  # here it is beneath this caller on the stack
        loop = call.runs_on or self.loop
        return loop is not None and loop is not held_up and loop.is_running()

    def _is_forgotten(self, call: RunningCall) -> bool:
        if isinstance(call.runs_on, int):
            return False
        loop = call.runs_on or self.loop
        return loop is None or loop.is_closed()


def _names(calls: set[RunningCall]) -> list[str]:
    counted = Counter(str(call.where) for call in calls if call.outer not in calls)
    return [where if number == 1 else f"{where} ({number} times)" for where, number in sorted(counted.items())]


class Flight:
    """The calls that run in one scope now, counted for each lifespan that is in force in it."""

    __slots__ = ("__weakref__", "home", "is_awaited", "is_left", "lifespans", "loop", "running", "task")

    def __init__(self, lifespans: tuple[Calls, ...]) -> None:
        self.lifespans: tuple[Calls, ...] = lifespans
        self.running: set[RunningCall] = set()
        self.is_awaited: bool = False
        self.is_left: bool = False  # one of them lets nobody in any more
        # The thread whose synchronous calls are not counted: any, where nobody waits; none, where lifespans close in several.
        self.home: Home = ANYWHERE if not lifespans else NOWHERE
        if len({calls.thread for calls in lifespans}) == 1:
            self.home = lifespans[0].home
        tasks = {calls.task for calls in lifespans}
        # The same of coroutines: the asyncio task that closes all of them; None where nobody waits.
        self.task: object = (tasks.pop() if len(tasks) == 1 else NOBODY) if tasks else None
        self.loop: object = next((c.loop for c in lifespans if c.task is self.task), None) or NOBODY
        for calls in lifespans:
            calls.add(self)

    def is_home(self) -> bool:
        """Whether this thread's synchronous calls are not counted."""
        return cast("Any", self.home)._is_owned()  # noqa: SLF001 - as written functions ask it

    def tell(self) -> None:
        """A call has ended that somebody waits for, perhaps."""
        for calls in self.lifespans:
            calls.tell()


_OF_RESOURCES = Flight(())
