"""The futures of a run that nobody has waited for: a lifespan closes after them, whatever task runner is in use."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, NamedTuple, cast

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


class _Task(NamedTuple):
    """One that has been submitted, and is not done."""

    future: Future
    name: str
    submission: RunningCall | None  # that it is made in

    def is_late_for(self, calls: Calls) -> bool:
        """Whether a lifespan does not wait for it: it was submitted when that let nobody in any more."""
        return self.submission is not None and self.submission.is_late_for(calls)


class PendingFutures:
    """What runs in one lifespan: futures submitted under it and not done yet, and injected calls in flight."""

    def __init__(self) -> None:
        self.calls: Calls = Calls(self._tell, running_loop())
        self._tasks: dict[int, _Task] = {}
        # No lock: each step is one that Python takes as a whole. A condition's own lines are Python's, and a signal that
        # raises there leaves it taken for good, which whoever runs a task then waits for without end.
        self._listeners: list[Callable[[], None]] = []

    def add(self, future: Future, task: str = "a task", submission: RunningCall | None = None) -> None:
        """Keep a future until it is done; `task` names what it will have done, and `submission` is what it is made in."""
        try:
            self._tasks[id(future)] = _Task(future, name_of_run(task, future.task_run_id), submission)
            future.add_done_callback(self._done)
        except BaseException:  # a signal: what is waited for has to tell of its end, and may do so twice
            future.add_done_callback(self._done)
            raise

    def left(self, held_up: Loop = None) -> set[object]:
        """The tasks and calls that are in time and will end by themselves, while the caller holds up an event loop perhaps."""
        in_time = [key for key, task in dict(self._tasks).items() if not task.is_late_for(self.calls)]
        return {*in_time, *self.calls.left(held_up)}

    def names(self) -> list[str]:
        """What is not done yet: tasks with the ids of their runs, and calls."""
        return list(dict.fromkeys([*(task.name for task in dict(self._tasks).values()), *self.calls.names()]))

    def cancel_queued(self) -> None:
        """Cancel what has not begun, as Prefect does at the end of a flow; what runs goes on."""
        for task in dict(self._tasks).values():
            cancel = getattr(getattr(task.future, "wrapped_future", None), "cancel", None)
            if cancel is not None and cancel() is True:
                self._done(task.future)  # it has told, unless a signal has interrupted that

    def wait(
        self, seconds: float | None = None, only: Collection[Future] | None = None, *, is_last: bool = True
    ) -> bool:
        """Wait until all are done, those included that begin meanwhile; False when `seconds` ran out.

        With `only`, wait for those futures among them and for nothing else. Where it `is_last` time that anybody waits, all
        is all; else only a while passes until it is what is there then. Coroutines of this very thread cannot go on
        meanwhile, and are not waited for.
        """
        changed = queue.SimpleQueue[None]()
        patience = _Patience(seconds, is_last=is_last)
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

    async def wait_async(
        self, seconds: float | None = None, only: Collection[Future] | None = None, *, is_last: bool = True
    ) -> bool:
        """The same without holding up the event loop, on which tasks may be running."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        patience = _Patience(seconds, is_last=is_last)
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
            return any(id(future) in self._tasks for future in only)
        return patience.has_any(self.left(held_up))

    def _tell_patience(self, patience: _Patience) -> None:
        if patience.ends_now() and (names := self.calls.names()):
            flow_logger().warning(
                "The lifespan closes as soon as these have ended, and waits for: %s", ", ".join(names)
            )

    def _done(self, future: Future) -> None:
        self._tasks.pop(id(future), None)
        self._tell()

    def _tell(self) -> None:
        for tell in tuple(self._listeners):
            tell()


class _Patience:
    """How long a closing goes on waiting, and whether it has said what for.

    Until it has ended, a moment without tasks and calls is waited for. After that only those are that are there then, unless
    it `is_last` time that anybody waits: where others follow without a pause, that moment may never come.
    """

    def __init__(self, seconds: float | None, *, is_last: bool) -> None:
        self._is_last = is_last
        self._began = time.monotonic()
        self._seconds = seconds
        self._has_ended = False
        self._last: set[object] | None = None  # the last ones that are waited for

    @property
    def left(self) -> float | None:
        """The seconds that are left; None for no limit."""
        return None if self._seconds is None else max(0.0, self._began + self._seconds - time.monotonic())

    @property
    def until_glance(self) -> float:
        """The seconds until the next look."""
        return _GLANCE_SECONDS if self.left is None else min(self.left, _GLANCE_SECONDS)

    def has_any(self, left: set[object]) -> bool:
        """Whether anything is to be waited for among what is left."""
        if self._is_last or not self._has_ended:
            return bool(left)
        self._last = left if self._last is None else self._last & left
        return bool(self._last)

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
