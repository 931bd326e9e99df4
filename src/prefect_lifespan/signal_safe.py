"""Bodies inside context managers and locks that no interruption leaves entered, and closings that each body is sure to have.

An exception of a signal handler, of a tracer or of a debugger may be raised before any line. Where a `with` statement
ends, Python comes back to its first line before it calls the manager's exit, outside of what it protects. On a line of
its own there is no such moment. The exit has a first line as well, before which it may be interrupted: one that is a
generator's is called again, and what has to be closed has no manager.

A lock's entering and leaving are C's, which nothing interrupts; a condition of the standard library has lines of Python there.
"""

from __future__ import annotations

import _thread
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar

from prefect_lifespan.managers import GeneratorManager

T = TypeVar("T")
P = ParamSpec("P")
E = TypeVar("E")


def within(manager: GeneratorManager[E], body: Callable[[E], T]) -> T:
    """What `body` returns for what `manager` gives; the manager is left whatever happens."""
    try:
        with manager as given: return body(given)  # noqa: E701 # fmt: skip
    except BaseException as error:
        manager.leave(error)
        raise


async def awaited_within(manager: GeneratorManager[E], body: Callable[[E], Awaitable[T]]) -> T:
    """The same for a coroutine function."""
    try:
        with manager as given: return await body(given)  # noqa: E701 # fmt: skip
    except BaseException as error:
        manager.leave(error)
        raise


def under(lock: AbstractContextManager[object], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` returns that runs under a lock, which is released whatever happens."""
    with lock: return function(*args, **kwargs)  # noqa: E701 # fmt: skip


class Condition(_thread.RLock, threading.Condition):  # type: ignore[misc] # ty: ignore[subclass-of-final-class]
    """A condition that no signal leaves taken: it is its own lock, which is entered and left in C.

    An exception of a handler comes as a function begins, or as it has returned: so does it in the two lines of Python that
    enter and leave a `threading.Condition`, when that is taken already, or still.
    """

    def __init__(self) -> None:
        self._waiters = deque[Any]()  # all that a condition has beside its lock (tests/contract/test_threads.py)


class Promise(Future[T]):
    """A future that is kept, and asked for, by whoever a signal interrupts: its condition is one of these."""

    def __init__(self) -> None:
        super().__init__()
        self._condition = Condition()  # tests/contract/test_threads.py


def closed_after(body: Callable[[], T], close: Callable[[BaseException | None], None]) -> T:
    """What `body` returns; then `close` is called with its outcome, and again where that is interrupted: it is to go on."""
    try:
        try:
            value = body()
        except BaseException as error:
            close(error)
            raise
        close(None)
        return value
    except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
        close(error)
        raise


async def aclosed_after(
    body: Callable[[], Awaitable[T]], aclose: Callable[[BaseException | None], Awaitable[None]]
) -> T:
    """The same for a coroutine function."""
    try:
        try:
            value = await body()
        except BaseException as error:
            await aclose(error)
            raise
        await aclose(None)
        return value
    except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
        await aclose(error)
        raise


def steps_closed_after(
    body: Callable[[], Generator[Any, Any, T]], close: Callable[[BaseException | None], None]
) -> Generator[Any, Any, T]:
    """The same for a generator function."""
    try:
        try:
            value = yield from body()
        except BaseException as error:
            close(error)
            raise
        close(None)
        return value
    except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
        close(error)
        raise
