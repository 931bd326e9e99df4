"""Threads that a resource can stay in: what is opened in one of them is closed in the same, in the same context.

sqlite connections and others insist on their thread, and a pool's thread may be gone when the run closes. They are daemon
threads: one that hangs is left behind rather than holding up the end of the process.

Each open resource that has to be closed has a thread of its own, so that where one hangs, no other waits behind it. Beyond
a number that no thread is worth any more, they share: what has to stay in its thread cannot be moved out of the way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from functools import partial
from typing import Any, TypeVar

from prefect_lifespan.steps import under

T = TypeVar("T")

_MOMENT_SECONDS = 1.0  # for a thread that only has to return
_MOST_THREADS = 64


class ResourceThread(threading.Thread):
    """One daemon thread that runs what it is given, one after another."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.load = 0  # how much it has to do; counted under the lock
        self.holds: set[object] = set()  # what is open in it, and is to be closed in it
        self.hangs_in: str | None = None  # what it has been left behind with
        self.has_turn = False
        self._has_stopped = False
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], Context] | None] = queue.SimpleQueue()
        self.start()

    def submit(self, function: Callable[[], T], context: Context) -> Future[T]:
        """Run `function` in this thread and in `context`; in the caller's once it has been stopped."""
        future: Future[T] = Future()
        if not under(self._lock, self._enqueue, future, function, context):
            try:
                future.set_result(context.run(function))
            except BaseException as error:
                future.set_exception(error)
        return future

    def _enqueue(self, future: Future[Any], function: Callable[[], Any], context: Context) -> bool:
        if not self._has_stopped:
            self.load += 1
            self._work.put((future, function, context))
        return not self._has_stopped

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in it."""
        return threading.current_thread() is self

    def stop(self) -> None:
        """Let the thread end when its work is done; does not wait."""
        under(self._lock, self._take_no_more)

    def _take_no_more(self) -> None:
        self._has_stopped = True
        self._work.put(None)

    def join_idle(self) -> None:
        """Wait until the thread has ended, where it has nothing left to do."""
        if not self.load and not self.is_current:
            self.join(_MOMENT_SECONDS)

    def run(self) -> None:
        """Run what comes, until it is stopped."""
        while (item := self._work.get()) is not None:
            future, function, context = item
            error: BaseException | None = None
            result: object = None
            try:
                result = context.run(function)
            except BaseException as raised:
                error = raised
            with self._lock:
                self.load -= 1  # before anybody is told, who may be about to pick a thread that is free
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del item, future, function, context, result, error  # a waiting thread keeps nothing of what it ran alive


class Threads:
    """Those of one engine, started as they are needed; up to `limit` of them open something at the same time."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._most = max(limit, _MOST_THREADS)
        self._turns = threading.Semaphore(limit)
        self._threads: list[ResourceThread] = []
        self._left_behind: list[ResourceThread] = []
        self._lock = threading.Lock()

    def current(self) -> ResourceThread | None:
        """The one of these that the caller runs in: an initialiser that asks for another resource opens it right there.

        It would wait for its own thread otherwise.
        """
        here = threading.current_thread()
        return here if isinstance(here, ResourceThread) and here in self._threads else None

    def submit(self, function: Callable[[ResourceThread], T], context: Context) -> tuple[ResourceThread, Future[T]]:
        """Run `function` in a free thread, as soon as one of those that open something has done so."""
        return under(self._lock, self._submit, function, context)

    def _submit(self, function: Callable[[ResourceThread], T], context: Context) -> tuple[ResourceThread, Future[T]]:
        thread = min(self._threads, key=_burden, default=None)
        if thread is None or (_burden(thread) and len(self._threads) < self._most):
            thread = ResourceThread(f"{self._name}-{len(self._threads)}")
            self._threads.append(thread)
        return thread, thread.submit(partial(self._open, thread, function), context)

    def drop(self, thread: ResourceThread, hangs_in: str) -> None:
        """Open nothing more in a thread that hangs; what it holds already still closes there, should it go on."""
        thread.hangs_in = thread.hangs_in or hangs_in
        self._give_back_turn(thread)
        under(self._lock, self._drop, thread)

    def _drop(self, thread: ResourceThread) -> None:
        if thread in self._threads:
            self._left_behind.append(thread)
            self._threads.remove(thread)

    def _open(self, thread: ResourceThread, function: Callable[[ResourceThread], T]) -> T:
        self._turns.acquire()
        thread.has_turn = True
        try:
            return function(thread)
        finally:
            self._give_back_turn(thread)

    def _give_back_turn(self, thread: ResourceThread) -> None:
        under(self._lock, self._take_turn_of, thread)

    def _take_turn_of(self, thread: ResourceThread) -> None:
        if thread.has_turn:
            self._turns.release()  # first: an interruption gives back one too many rather than one too few
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
