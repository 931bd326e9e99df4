"""What has ended, in a queue, for a driver on an event loop to take it from.

An exception of a signal's handler that is raised in a callback of the loop is logged there and lost, with all that the
callback was to do. So those are the standard library's: whatever ends comes into the queue by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, TypeAlias

from prefect_lifespan.engine.places.task import InTask

End: TypeAlias = asyncio.Future[Any] | None


class EndQueue:
    """What has ended, as the driver of one call waits for it: futures, and attempts that say so themselves."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._ended: asyncio.Queue[End] = asyncio.Queue()
        self._put: Callable[[End], None] = self._ended.put_nowait
        self._over: deque[InTask] = deque()

    def watch(self, end: asyncio.Future[Any]) -> None:
        """Let it come into the queue when it is done."""
        end.add_done_callback(self._put)

    def forget(self, end: asyncio.Future[Any]) -> None:
        """Watch it no more: one that goes on would keep the queue, and all that waits in it."""
        end.remove_done_callback(self._put)

    def is_over(self, place: InTask) -> None:
        """An attempt has come to its end; several at a time wake the driver once."""
        self._over.append(place)
        if len(self._over) == 1:
            self._put(None)

    def wake(self) -> None:
        """Let whoever waits look again, from whatever thread or signal's handler."""
        self.loop.call_soon_threadsafe(self._put, None)

    async def wait(self, until: float | None) -> End:
        """What has ended next; None where nothing has until then, where it is attempts that have, or when it was woken."""
        if self._over:  # whoever took some was interrupted
            return None
        if until is None or not self._ended.empty():
            return await self._ended.get()
        timer = self.loop.call_later(max(until - perf_counter(), 0.0), self._put, None)
        try:
            return await self._ended.get()
        finally:
            timer.cancel()

    def attempts(self) -> Iterator[InTask]:
        """The attempts that have come to their end since they were asked for last."""
        while self._over:
            yield self._over.popleft()
