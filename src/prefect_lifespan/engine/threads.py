"""Threads that a resource stays in: what is opened in one is closed in the same one, in the same context.

sqlite connections and others insist on their thread, and a pool's thread may be gone when the run closes. These are
daemon threads: one that hangs is left behind rather than holding up the end of the process.

Each open resource that has to be closed has a thread of its own, so that where one hangs, no other waits behind it. Beyond
a number that nobody wants more of, they share: what has to stay in its thread cannot be moved out of the way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

from prefect_lifespan.signal_safe import under

T = TypeVar("T")

_MOMENT_SECONDS = 1.0  # for a thread that only has to return
_MOST_THREADS = 64


class ResourceThread:
    """One daemon thread that runs what it is given, one after another."""

    def __init__(self, name: str) -> None:
        self.load: int = 0  # how much it has to do; counted under the lock
        self.holds: set[object] = set()  # what is open in it, and is to be closed in it
        self.hangs_in: str | None = None  # what it has been left behind with
        self.has_turn = False
        self._stopped = False
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], Context] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, future: Future[T], function: Callable[[], T], context: Context) -> None:
        """Run `function` in this thread and in `context`, for `future`; in the caller's once it has been stopped."""
        if not under(self._lock, self._enqueue, future, function, context):
            _run_for(future, function, context)

    def _enqueue(self, future: Future[Any], function: Callable[[], Any], context: Context) -> bool:
        if not self._stopped:
            self.load += 1
            self._work.put((future, function, context))
        return not self._stopped

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Let the thread end when its work is done; does not wait."""
        under(self._lock, self._stop)

    def _stop(self) -> None:
        self._stopped = True
        self._work.put(None)

    def join_idle(self) -> None:
        """Wait until the thread has ended, where it has nothing left to do."""
        if not self.load and not self.is_current:
            self._thread.join(_MOMENT_SECONDS)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, function, context = item
            _run_for(future, function, context, self._is_done)
            del item, future, function, context  # a waiting thread keeps nothing of what it ran alive

    def _is_done(self) -> None:
        with self._lock:
            self.load -= 1


def _run_for(
    future: Future[Any], function: Callable[[], Any], context: Context, done: Callable[[], object] = lambda: None
) -> None:
    """Run something for whoever waits for the future, unless it has been cancelled; `done` before anybody is told."""
    # Whoever is told may be about to pick a thread that is free.
    if not future.set_running_or_notify_cancel():
        done()
        return
    try:
        result = context.run(function)
    except BaseException as error:
        done()
        future.set_exception(error)
    else:
        done()
        future.set_result(result)


class Threads:
    """Threads, started as they are needed; up to `limit` of them open something at the same time."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._most = max(limit, _MOST_THREADS)
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()  # those that nobody has
        for _ in range(limit):
            self._turns.put(None)
        self._threads: list[ResourceThread] = []
        self._left_behind: list[ResourceThread] = []
        self._lock = threading.Lock()

    def current(self) -> ResourceThread | None:
        """The thread that the caller runs in: an initialiser that asks for another resource opens it right there.

        It would wait for its own thread otherwise.
        """
        if not self._threads:  # as in most lifespans
            return None
        return next((thread for thread in [*self._threads] if thread.is_current), None)

    def submit(self, future: Future[T], function: Callable[[ResourceThread], T], context: Context) -> ResourceThread:
        """Run `function` in a free thread, as soon as one of those that open something has done so, for `future`."""
        return under(self._lock, self._submit, future, function, context)

    def _submit(self, future: Future[T], function: Callable[[ResourceThread], T], context: Context) -> ResourceThread:
        thread = min(self._threads, key=_burden, default=None)
        if thread is None or (_burden(thread) and len(self._threads) < self._most):
            thread = ResourceThread(f"{self._name}-{len(self._threads)}")
            self._threads.append(thread)
        thread.submit(future, partial(self._open, thread, function), context)
        return thread

    def drop(self, thread: ResourceThread, hangs_in: str) -> None:
        """Open nothing more in one that hangs; what it holds already still closes there, should it go on."""
        thread.hangs_in = thread.hangs_in or hangs_in
        self._give_up_turn(thread)
        under(self._lock, self._drop, thread)

    def _drop(self, thread: ResourceThread) -> None:
        if thread in self._threads:
            self._left_behind.append(thread)
            self._threads.remove(thread)

    def _open(self, thread: ResourceThread, function: Callable[[ResourceThread], T]) -> T:
        self._turns.get()
        thread.has_turn = True
        try:
            return function(thread)
        finally:
            self._give_up_turn(thread)

    def without_turn(self, function: Callable[[], T]) -> T:
        """What `function` returns, which waits for others to open; the thread that the caller runs in lets them have its turn.

        As many initialisers as there are turns may each ask for another resource: nobody would ever open those.
        """
        thread = self.current()
        if thread is None or not thread.has_turn:
            return function()
        self._give_up_turn(thread)
        try:
            return function()
        finally:
            self._turns.get()
            thread.has_turn = True

    def _give_up_turn(self, thread: ResourceThread) -> None:
        under(self._lock, self._take_turn_of, thread)

    def _take_turn_of(self, thread: ResourceThread) -> None:
        if thread.has_turn:
            self._turns.put(None)  # first: an interruption gives back one too many rather than one too few
            thread.has_turn = False

    def stop(self) -> None:
        """Let every thread end when its work is done; those that have none are gone then."""
        threads = [*self._threads, *self._left_behind]
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join_idle()


def _burden(thread: ResourceThread) -> int:
    return thread.load + len(thread.holds)
