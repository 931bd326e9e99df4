"""Opening on an event loop: asynchronous resources side by side, each in its host, blocking ones one after another.

Blocking resources stay in the calling thread, while hosts wait for their input and output, or go to lanes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from prefect_lifespan.engine.blocking import LaneEntry, Needs, attempt_here, close_late, run_in_place
from prefect_lifespan.engine.host import Host, attempt_async
from prefect_lifespan.engine.initialiser import NeedsEventLoop
from prefect_lifespan.engine.opening import Attempts, Readiness
from prefect_lifespan.engine.slot import Abandoned, Ledger, Slot

T = TypeVar("T")
Finished = tuple[Slot, Future[None]]


async def open_async(ledger: Ledger, slots: Iterable[Slot], needs: Needs, *, in_callers_context: bool) -> None:
    """Open slots on the running loop, each as soon as what it needs is open, asynchronous ones side by side.

    When one fails, those that this call started and that are still opening are cancelled and awaited, and the
    initialiser's own exception is raised.
    """
    opening = _Opening(ledger, Readiness(slots, needs), in_callers_context=in_callers_context)
    try:
        await opening.run()
    except BaseException as error:
        interruption = await opening.cancel()
        if interruption is not None and isinstance(error, Exception):
            raise interruption from error  # it is whose task this is that asks, and whoever retries must not swallow it
        raise


class _Opening:
    """One call of `open_async`: what it has started, and what has finished meanwhile."""

    def __init__(self, ledger: Ledger, readiness: Readiness, *, in_callers_context: bool) -> None:
        self._ledger = ledger
        self._readiness = readiness
        self._in_callers_context = in_callers_context
        self._loop = asyncio.get_running_loop()
        self._claimed: set[Slot] = set()
        self._queued: set[Slot] = set()  # for a lane, and not at it yet
        self._finished: asyncio.Queue[Finished] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._hosts: list[Host] = []
        self._blocking: list[Slot] = []
        self._places = asyncio.Semaphore(ledger.max_workers)

    async def run(self) -> None:
        while self._readiness.left:
            for slot in self._readiness.take():
                self._start(slot)
            if self._blocking:
                await asyncio.sleep(0)  # hosts that were just started get to their first wait
                await self._open_here(self._blocking.pop(0))
                continue
            slot, future = await self._finished.get()
            error = future.exception()
            if isinstance(error, Abandoned):
                if slot in self._claimed and slot.failure is not None:
                    raise slot.failure  # not ours to try again: its initialiser raised a BaseException
                self._start(slot)  # whoever held the claim was interrupted
            elif error is not None:
                raise error
            else:
                self._readiness.opened(slot)

    async def cancel(self) -> BaseException | None:
        """Cancel what this call started and is not open yet, and wait until it has ended.

        Returns a cancellation of the caller that arrived meanwhile.
        """
        under_way: list[asyncio.Future[None]] = [task for task in self._tasks if not task.done()]
        for task in under_way:
            task.cancel()
        for host in self._hosts:
            if not host.settled.done():
                host.cancel_opening()
                under_way.append(host.settled)
        interruption = await uninterrupted(asyncio.wait(under_way)) if under_way else None
        for slot in self._queued:  # for a place in a lane, so nobody has given up their claims
            slot.failed(asyncio.CancelledError())
        self._queued.clear()
        return interruption

    def _start(self, slot: Slot) -> None:
        if not slot.node.is_async and self._ledger.max_workers == 1:
            self._blocking.append(slot)  # its turn comes, in this thread
            return
        if self._claim(slot):
            if slot.node.is_async:
                self._hosts.append(Host(slot))
            else:
                self._queued.add(slot)
                self._tasks.append(self._loop.create_task(self._open_in_lane(slot)))

    def _claim(self, slot: Slot) -> bool:
        """Claim a slot, or learn that somebody is at it; `_finished` will tell in either case."""
        theirs = slot.claim()
        if theirs is None:
            self._claimed.add(slot)
            slot.loop = self._loop

        def tell(done: Future[None]) -> None:
            self._loop.call_soon_threadsafe(self._finished.put_nowait, (slot, done))

        # Asked for at once: an opening that fails is no longer to be had from the slot.
        (theirs or slot.opening).add_done_callback(tell)
        return theirs is None

    async def _open_here(self, slot: Slot) -> None:
        if self._claim(slot):
            attempts = Attempts(slot)
            enter = partial(attempt_here, slot, attempts, on_loop=True, in_callers_context=self._in_callers_context)
            await self._open_claimed(slot, attempts, lambda: _immediately(enter))

    async def _open_in_lane(self, slot: Slot) -> None:
        async with self._places:
            self._queued.discard(slot)
            attempts = Attempts(slot)
            await self._open_claimed(slot, attempts, lambda: _in_lane(slot, attempts))

    async def _open_claimed(self, slot: Slot, attempts: Attempts, enter: Callable[[], Awaitable[None]]) -> None:
        try:
            await attempt_async(attempts, enter)
        except NeedsEventLoop as needs:
            self._hosts.append(Host(slot, needs.made))
            return
        except BaseException as error:
            slot.failed(error)
            if isinstance(error, Exception):
                return
            raise
        if slot.opened():
            slot.event("opened", attempts.seconds)
        elif (entered := slot.entered) is not None:
            closing = run_in_place(slot, partial(close_late, slot, entered))
            interruption = await uninterrupted(asyncio.wait([arrival_of(closing)]))
            slot.came_late()
            if interruption is not None:
                raise interruption


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


def arrival_of(future: Future[Any]) -> asyncio.Future[None]:
    """Done on the running loop when a future of another thread is, whose result or exception is asked of that.

    `asyncio.wrap_future` hands on a new exception in the place of some, without cause and traceback.
    """
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[None] = loop.create_future()

    def arrive() -> None:
        if not arrival.done():
            arrival.set_result(None)

    def tell(_: object) -> None:
        with suppress(RuntimeError):  # the loop has closed since: nobody waits any more
            loop.call_soon_threadsafe(arrive)

    future.add_done_callback(tell)
    return arrival


async def _immediately(enter: Callable[[], None]) -> None:
    enter()


async def _in_lane(slot: Slot, attempts: Attempts) -> None:
    entry = LaneEntry(slot, attempts, on_loop=True)
    done = entry.start()
    entering = arrival_of(done)
    try:
        await asyncio.shield(entering)
        done.result()
    except asyncio.CancelledError as cancelled:
        # Nothing interrupts what runs in a lane. Unless its time is up it is waited for: what it opens needs what would
        # close meanwhile, and closes in its turn.
        left = slot.policy.close_timeout_seconds if attempts.limit is None else attempts.seconds_left()
        if left is None or left > 0:
            await uninterrupted(asyncio.wait([entering], timeout=left))
        if entering.done() and done.exception() is None:
            return
        entry.interrupted(cancelled)
        raise
