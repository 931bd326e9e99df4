"""Who waits for an asyncio task, as the contexts that they do so in: a task which waits for them would wait for ever.

asyncio has no public way to ask before Python 3.14. A task's callbacks are what it will tell of its end, each with the
context that it was added in; those of `await`, `gather`, `wait`, `wait_for` and `shield` are asyncio's own
(tests/contract/test_asyncio_waiters.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import Context
from functools import partial
from typing import Any, cast


def waiting_for_this_task() -> Iterator[Context]:
    """The contexts of those that wait for the task that runs here, and for tasks that wait for it."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    known: set[asyncio.Task[Any]] = set()
    tasks = [task]
    while tasks:
        task = tasks.pop()
        if task is None or task in known:
            continue
        known.add(task)
        callbacks: list[tuple[Any, Context]] = getattr(task, "_callbacks", None) or []
        for callback, context in callbacks:
            waiter: Any = getattr(callback, "__self__", None)
            if isinstance(waiter, asyncio.Task):
                tasks.append(cast("asyncio.Task[Any]", waiter))
                yield context
            elif _function(callback).__module__ == asyncio.tasks.__name__:
                yield context


def _function(callback: Any) -> Any:
    return callback.func if isinstance(callback, partial) else callback
