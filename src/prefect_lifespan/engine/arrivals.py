"""Waiting on an event loop so that neither a cancellation nor a signal loses what has come to an end meanwhile.

An exception of a signal's handler that is raised in a callback of the loop is logged there and lost, with all that the
callback was to do. So no callback here is the library's own: whatever ends comes into a queue by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Arrivals(Generic[T]):
    """What has come to an end on the running event loop, of all that is watched."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
        self._watched: dict[asyncio.Future[Any], T] = {}
        self._nothing: asyncio.Future[None] = self._loop.create_future()

    def watch(self, ending: asyncio.Future[Any], what: T) -> None:
        """Let `next` give `what` when that is done."""
        self._watched[ending] = what
        ending.add_done_callback(self._queue.put_nowait)

    def wake(self) -> None:
        """Let `next` return, from a signal's handler."""
        self._loop.call_soon_threadsafe(self._queue.put_nowait, self._nothing)

    async def next(self, seconds: float | None) -> T | None:
        """What has come to an end; None when so many seconds have gone by, or it was woken."""
        at_the_end = None
        if seconds is not None:
            at_the_end = self._loop.call_later(max(seconds, 0.0), self._queue.put_nowait, self._nothing)
        try:
            return self._watched.pop(await self._queue.get(), None)
        finally:
            if at_the_end is not None:
                at_the_end.cancel()

    def forget(self) -> None:
        """Nothing is waited for any more."""
        for ending in self._watched:
            ending.remove_done_callback(self._queue.put_nowait)
        self._watched.clear()


def arrival_of(future: Future[Any], *, in_this_thread: bool = False) -> asyncio.Future[Any]:
    """Done on the running loop when a future is, whose result or exception is asked of that.

    `asyncio.wrap_future` hands on a new exception in the place of some, without cause and traceback. `in_this_thread`
    says that no other thread ends it.
    """
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[Any] = loop.create_future()
    arrive = partial(loop.call_soon_threadsafe, arrival.set_result)

    def tell(done: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has closed since: nobody waits any more
            arrive(done)

    # A signal's handler interrupts the main thread only, where a callback of ours could be what it interrupts.
    future.add_done_callback(arrive if in_this_thread else tell)
    return arrival


async def uninterrupted(
    work: Coroutine[Any, Any, T], then: Callable[[T], object] = lambda _: None
) -> BaseException | None:
    """Await `work` to its end although the caller is cancelled meanwhile, and hand its result to `then`.

    Returns the cancellation, which is to go on.
    """
    task = asyncio.get_running_loop().create_task(work)
    interruption: BaseException | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as cancelled:
            interruption = interruption or cancelled
    then(task.result())
    return interruption
