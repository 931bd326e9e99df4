"""The futures of a run that nobody has waited for: a lifespan closes after them, whatever task runner is in use."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner
from prefect.utilities.collections import visit_collection

from prefect_lifespan.lifespans.forgotten import refuse
from prefect_lifespan.scope import current_scope

Future = PrefectFuture[Any]


class PendingFutures:
    """Futures submitted under one lifespan and not done yet; done ones are let go of at once."""

    def __init__(self) -> None:
        self._futures: dict[int, Future] = {}
        self._names: dict[int, str] = {}
        self._change = threading.Condition()
        self._listeners: list[Callable[[], None]] = []

    def add(self, future: Future, task: str = "a task") -> None:
        """Keep a future until it is done; `task` names what it will have done."""
        with self._change:
            self._futures[id(future)] = future
            self._names[id(future)] = f"{task!r} (task run {future.task_run_id})"
        future.add_done_callback(self._done)

    def names(self) -> list[str]:
        """What is not done yet, by task and id of its run."""
        with self._change:
            return list(self._names.values())

    def cancel_queued(self) -> None:
        """Cancel what has not begun, as Prefect does at the end of a flow; what runs goes on."""
        with self._change:
            futures = list(self._futures.values())
        for future in futures:
            cancel = getattr(getattr(future, "wrapped_future", None), "cancel", None)
            if cancel is not None:
                cancel()

    def wait(self, seconds: float | None = None, only: Collection[Future] | None = None) -> bool:
        """Wait until all are done, those included that are submitted meanwhile; False when `seconds` ran out.

        With `only`, wait for those among them and for no other.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._change:
            while self._is_left(only):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._change.wait(left)
        return True

    async def wait_async(self, seconds: float | None = None, only: Collection[Future] | None = None) -> bool:
        """The same without holding up the event loop, on which tasks may be running."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._change:
            self._listeners.append(tell)
        try:
            async with asyncio.timeout(seconds):
                while self._is_left(only):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            with self._change:
                self._listeners.remove(tell)
        return True

    def _is_left(self, only: Collection[Future] | None) -> bool:
        if only is None:
            return bool(self._futures)
        return any(id(future) in self._futures for future in only)

    def _done(self, future: Future) -> None:
        with self._change:
            self._futures.pop(id(future), None)
            self._names.pop(id(future), None)
            self._change.notify_all()
            for tell in self._listeners:
                tell()


def futures_in(value: object) -> list[Future]:
    """The futures that a flow's return value holds, where Prefect looks for them: in collections, at any depth."""
    found: list[Future] = []

    def collect(item: object) -> object:
        if isinstance(item, PrefectFuture):
            found.append(cast("Future", item))
        return cast("object", item)

    visit_collection(value, visit_fn=collect, return_data=False)
    return found


def watch_submissions() -> None:
    """Let futures that this flow run's task runner submits be known to the lifespans in force where that happens."""
    context = FlowRunContext.get()
    if context is not None:
        watch(context.task_runner)


def watch(runner: TaskRunner[Any], submitted: PendingFutures | None = None) -> None:
    """Let futures that a run's task runner submits be known to the lifespans in force where that happens.

    They are added to `submitted`, too.

    Prefect drops what is queued when a flow function returns, and has no hook for submissions; its runner is one
    object per run, whose `submit` is what `task.submit` and `map` go through, so it is replaced on that object.
    """
    if "submit" in vars(runner):
        return
    submit: Callable[..., Future] = runner.submit

    def submit_and_tell(*args: Any, **kwargs: Any) -> Future:
        task = kwargs["task"] if "task" in kwargs else args[0]
        refuse(task, kwargs["parameters"] if "parameters" in kwargs else args[1])
        with submissions.around(runner):
            future = submit(*args, **kwargs)
        for pending in (submitted, *(lifespan.pending for lifespan in current_scope().lifespans)):
            if isinstance(pending, PendingFutures):
                pending.add(future, task.name)
        return future

    runner.submit = submit_and_tell


@dataclass
class Submissions:
    """What is done around each submission to a watched runner; whoever takes scopes to other processes sets it."""

    around: Callable[[TaskRunner[Any]], AbstractContextManager[object]] = nullcontext


submissions = Submissions()
