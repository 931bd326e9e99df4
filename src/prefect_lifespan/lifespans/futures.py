"""The futures of a run that nobody has waited for: a lifespan closes after them, whatever task runner is in use."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, cast

from prefect.futures import PrefectFuture
from prefect.utilities.collections import visit_collection

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.in_flight import Calls, RunningCall
from prefect_lifespan.lifespans.prefect_run import flow_logger

Future = PrefectFuture[Any]
Loop = asyncio.AbstractEventLoop | None

# How long a closing waits for calls before it says which.
_PATIENCE_SECONDS = 10.0
# How often it looks for calls that tell nobody of their end: their thread has ended inside, as a daemon does.
_GLANCE_SECONDS = 1.0


class PendingFutures:
    """What runs in one lifespan: futures submitted under it and not done yet, and injected calls in flight."""

    def __init__(self) -> None:
        self.calls: Calls = Calls(self._tell, running_loop())
        self._futures: dict[int, Future] = {}
        self._names: dict[int, str] = {}
        # No lock: each step is one that Python takes as a whole. A condition's own lines are Python's, and a signal that
        # raises there leaves it taken for good, which whoever runs a task then waits for without end.
        self._listeners: list[Callable[[], None]] = []

    def add(self, future: Future, task: str = "a task") -> None:
        """Keep a future until it is done; `task` names what it will have done."""
        try:
            self._futures[id(future)] = future
            self._names[id(future)] = name_of_run(task, future.task_run_id)
            future.add_done_callback(self._done)
        except BaseException:  # a signal: what is waited for has to tell of its end, and may do so twice
            future.add_done_callback(self._done)
            raise

    @property
    def has_any(self) -> bool:
        """Whether there are futures that are not done yet."""
        return bool(self._futures)

    def names(self) -> list[str]:
        """What is not done yet: tasks with the ids of their runs, and calls."""
        return list(dict.fromkeys([*dict(self._names).values(), *self.calls.names()]))

    def cancel_queued(self) -> None:
        """Cancel what has not begun, as Prefect does at the end of a flow; what runs goes on."""
        for future in dict(self._futures).values():
            cancel = getattr(getattr(future, "wrapped_future", None), "cancel", None)
            if cancel is not None and cancel() is True:
                self._done(future)  # it has told, unless a signal has interrupted that

    def wait(self, seconds: float | None = None, only: Collection[Future] | None = None) -> bool:
        """Wait until all are done, those included that begin meanwhile; False when `seconds` ran out.

        With `only`, wait for those futures among them and for nothing else. Coroutines of this very thread cannot go on
        meanwhile, and are not waited for.
        """
        changed = queue.SimpleQueue[None]()
        patience = _Patience(seconds)
        held_up = running_loop()
        self._expect_calls(only, held_up)

        def tell() -> None:
            changed.put(None)

        self._listeners.append(tell)
        try:
            while self._is_left(patience, only, held_up):
                if patience.left == 0.0:
                    return False
                with suppress(queue.Empty):
                    changed.get(timeout=patience.until_glance)
                self._tell_patience(patience)
        finally:
            self._listeners.remove(tell)
        return True

    async def wait_async(self, seconds: float | None = None, only: Collection[Future] | None = None) -> bool:
        """The same without holding up the event loop, on which tasks may be running."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        patience = _Patience(seconds)
        self._expect_calls(only, None)

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(changed.set)

        self._listeners.append(tell)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(0)  # asyncio tasks that have not begun yet begin, and are counted
                while self._is_left(patience, only):
                    glance = loop.call_later(_GLANCE_SECONDS, changed.set)
                    try:
                        await changed.wait()
                    finally:
                        glance.cancel()
                    changed.clear()
                    self._tell_patience(patience)
        except TimeoutError:
            return False
        finally:
            self._listeners.remove(tell)
        return True

    def _expect_calls(self, only: Collection[Future] | None, held_up: Loop) -> None:
        self.calls.expect()
        if only is None and (standing := self.calls.standing(held_up)):
            flow_logger().warning(
                "Calls that cannot go on while this closes their resources, as their event loop stands still, are not "
                "waited for: %s; leave the lifespan there with `async with`, or wait for them before",
                ", ".join(standing),
            )

    def _is_left(self, patience: _Patience, only: Collection[Future] | None, held_up: Loop = None) -> bool:
        if only is not None:
            return any(id(future) in self._futures for future in only)
        if self._futures:
            patience.begin_again()
            return True
        return patience.has_any(self.calls.left(held_up))

    def _tell_patience(self, patience: _Patience) -> None:
        if patience.ends_now() and (names := self.calls.names()):
            flow_logger().warning(
                "The lifespan closes as soon as these have ended, and waits for: %s", ", ".join(names)
            )

    def _done(self, future: Future) -> None:
        self._futures.pop(id(future), None)
        self._names.pop(id(future), None)
        self._tell()

    def _tell(self) -> None:
        for tell in tuple(self._listeners):
            tell()


class _Patience:
    """How long a closing goes on waiting, and whether it has said what for.

    Until it has ended, a moment without calls is waited for. After that only those are that are in flight then: where
    others follow without a pause, that moment may never come.
    """

    def __init__(self, seconds: float | None) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._has_ended = False
        self._last: set[RunningCall] | None = None  # the last ones that are waited for

    @property
    def left(self) -> float | None:
        """The seconds that are left; None for no limit."""
        return None if self._seconds is None else max(0.0, self._began + self._seconds - time.monotonic())

    @property
    def until_glance(self) -> float:
        """The seconds until the next look."""
        return _GLANCE_SECONDS if self.left is None else min(self.left, _GLANCE_SECONDS)

    def has_any(self, left: set[RunningCall]) -> bool:
        """Whether there are calls to be waited for among those that are left."""
        if not self._has_ended:
            return bool(left)
        self._last = left if self._last is None else self._last & left
        return bool(self._last)

    def begin_again(self) -> None:
        """Tasks have been submitted meanwhile: what is in flight when they are done is waited for, too."""
        self._last = None

    def ends_now(self) -> bool:
        """Whether it is time to say what is waited for: once, where no limit says it."""
        if self._has_ended or self._seconds is not None or time.monotonic() < self._began + _PATIENCE_SECONDS:
            return False
        self._has_ended = True
        return True


def name_of_run(task: str, task_run_id: object) -> str:
    """A task run, for a reader of the log."""
    return f"{task!r} (task run {task_run_id})"


def futures_in(value: object) -> list[Future]:
    """The futures that a flow's return value holds, where Prefect looks for them: in collections, at any depth."""
    found: list[Future] = []

    def collect(item: object) -> object:
        if isinstance(item, PrefectFuture):
            found.append(cast("Future", item))
        return cast("object", item)

    visit_collection(value, visit_fn=collect, return_data=False)
    return found
