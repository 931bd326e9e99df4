"""Threads that a resource can stay in: what is opened in a lane is closed in the same lane, in the same context.

sqlite connections and others insist on their thread, and a pool's thread may be gone when the run closes. Lanes are
daemon threads: one that hangs is left behind rather than holding up the end of the process.

Each open resource that has to be closed has a lane of its own, so that where one hangs, no other waits behind it. Beyond
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
_MOST_LANES = 64


class Lane:
    """One daemon thread that runs what it is given, one after another."""

    def __init__(self, name: str) -> None:
        self.load = 0  # how much it has to do; counted under the lock
        self.holds: set[object] = set()  # what is open in it, and is to be closed in it
        self.hangs_in: str | None = None  # what it has been left behind with
        self.has_place = False
        self._stopped = False
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any], Context] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], T], context: Context) -> Future[T]:
        """Run `function` in this lane's thread and in `context`; in the caller's once it has been stopped."""
        future: Future[T] = Future()
        if not under(self._lock, self._enqueue, future, function, context):
            try:
                future.set_result(context.run(function))
            except BaseException as error:
                future.set_exception(error)
        return future

    def _enqueue(self, future: Future[Any], function: Callable[[], Any], context: Context) -> bool:
        if not self._stopped:
            self.load += 1
            self._work.put((future, function, context))
        return not self._stopped

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in this lane."""
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
            error: BaseException | None = None
            result: object = None
            try:
                result = context.run(function)
            except BaseException as raised:
                error = raised
            with self._lock:
                self.load -= 1  # before anybody is told, who may be about to pick a lane that is free
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del item, future, function, context, result, error  # a waiting lane keeps nothing of what it ran alive


class Lanes:
    """Lanes, started as they are needed; up to `limit` of them open something at the same time."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._most = max(limit, _MOST_LANES)
        self._places = threading.Semaphore(limit)
        self._lanes: list[Lane] = []
        self._left_behind: list[Lane] = []
        self._lock = threading.Lock()

    def current(self) -> Lane | None:
        """The lane that the caller runs in: an initialiser that asks for another resource opens it right there.

        It would wait for its own thread otherwise.
        """
        return next((lane for lane in [*self._lanes] if lane.is_current), None)

    def submit(self, function: Callable[[Lane], T], context: Context) -> tuple[Lane, Future[T]]:
        """Run `function` in a free lane, as soon as one of those that open something has done so."""
        return under(self._lock, self._submit, function, context)

    def _submit(self, function: Callable[[Lane], T], context: Context) -> tuple[Lane, Future[T]]:
        lane = min(self._lanes, key=_burden, default=None)
        if lane is None or (_burden(lane) and len(self._lanes) < self._most):
            lane = Lane(f"{self._name}-{len(self._lanes)}")
            self._lanes.append(lane)
        return lane, lane.submit(partial(self._open, lane, function), context)

    def drop(self, lane: Lane, hangs_in: str) -> None:
        """Open nothing more in a lane that hangs; what it holds already still closes there, should it go on."""
        lane.hangs_in = lane.hangs_in or hangs_in
        self._give_back_place(lane)
        under(self._lock, self._drop, lane)

    def _drop(self, lane: Lane) -> None:
        if lane in self._lanes:
            self._left_behind.append(lane)
            self._lanes.remove(lane)

    def _open(self, lane: Lane, function: Callable[[Lane], T]) -> T:
        self._places.acquire()
        lane.has_place = True
        try:
            return function(lane)
        finally:
            self._give_back_place(lane)

    def _give_back_place(self, lane: Lane) -> None:
        under(self._lock, self._take_place_of, lane)

    def _take_place_of(self, lane: Lane) -> None:
        if lane.has_place:
            self._places.release()  # first: an interruption gives back one too many rather than one too few
            lane.has_place = False

    def stop(self) -> None:
        """Let every lane end when its work is done; those that have none are gone then."""
        lanes = [*self._lanes, *self._left_behind]
        for lane in lanes:
            lane.stop()
        for lane in lanes:
            lane.join_idle()


def _burden(lane: Lane) -> int:
    return lane.load + len(lane.holds)
