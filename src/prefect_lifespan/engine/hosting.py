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

from prefect_lifespan.engine.blocking import attempt_here, run_in_place, settle
from prefect_lifespan.engine.host import Host, attempt_async
from prefect_lifespan.engine.initialiser import NeedsEventLoop
from prefect_lifespan.engine.lane_entry import LaneEntry, close_late
from prefect_lifespan.engine.late import Needs
from prefect_lifespan.engine.opening import Attempts, Readiness
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Abandoned, Ledger, Slot
from prefect_lifespan.steps import awaited_within, within

T = TypeVar("T")


async def open_async(ledger: Ledger, slots: Iterable[Slot], needs: Needs, *, in_callers_context: bool) -> None:
    """Open slots on the running loop, each as soon as what it needs is open, asynchronous ones side by side.

    When one fails, those that this call started and that are still opening are cancelled and awaited, and the
    initialiser's own exception is raised.
    """
    opening = _Opening(ledger, Readiness(slots, needs), in_callers_context=in_callers_context)
    await awaited_within(held_signals.back(opening.wake), lambda _: _open(opening))


async def _open(opening: _Opening) -> None:
    try:
        try:
            await opening.run()
        except BaseException as error:
            interruption = await opening.cancel(error)
            if interruption is not None and isinstance(error, Exception):
                raise interruption from error  # it is whose task this is that asks, and whoever retries must not swallow it
            raise
    except BaseException as error:  # perhaps a signal that has interrupted that
        await opening.cancel(error)
        raise


class _Opening:
    """One call of `open_async`: what it has started, and what has finished meanwhile. It holds the claims.

    An exception of a signal's handler that is raised in a callback of the loop is logged there and lost, with all that
    the callback was to do. So those are the standard library's: whatever ends comes into the queue by itself.
    """

    def __init__(self, ledger: Ledger, readiness: Readiness, *, in_callers_context: bool) -> None:
        self._ledger = ledger
        self._readiness = readiness
        self._in_callers_context = in_callers_context
        self._loop = asyncio.get_running_loop()
        self._started: set[Slot] = set()
        self._finished: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
        self._nothing: asyncio.Future[None] = self._loop.create_future()
        self._signalled = asyncio.Event()
        self._at: dict[asyncio.Future[Any], tuple[Slot, Host | None]] = {}
        self._tasks: list[asyncio.Task[object]] = []
        self._blocking: list[Slot] = []
        self._places = asyncio.Semaphore(ledger.max_workers)

    def wake(self) -> None:
        """A signal has arrived: let this call deliver it, whatever it waits for."""
        self._loop.call_soon_threadsafe(self._signalled.set)
        self._loop.call_soon_threadsafe(self._finished.put_nowait, self._nothing)

    async def run(self) -> None:
        while self._readiness.left:
            held_signals.deliver()
            for slot in self._readiness.take():
                self._start(slot)
            if self._blocking:
                await asyncio.sleep(0)  # hosts that were just started get to their first wait
                await self._open_here(self._blocking.pop(0))
                continue
            finished = await self._finished.get()
            slot, host = self._at.pop(finished, (None, None))
            if slot is not None:
                self._take(slot, host, finished)

    def _take(self, slot: Slot, host: Host | None, finished: asyncio.Future[Any]) -> None:
        """Something has come to an end for `slot`: its host is at its first stay or done, its lane, or somebody else."""
        if host is not None:
            self._take_from(host)
            return
        result: object = finished.result()
        if isinstance(result, Future) and (error := result.exception()) is not None:
            if not isinstance(error, Abandoned):
                raise error
            self._start(slot)  # whoever held the claim was interrupted
        elif result is not _WITH_A_HOST:
            self._readiness.opened(slot)

    def _take_from(self, host: Host) -> None:
        self._at.pop(host.settled, None)
        self._at.pop(host.task, None)
        host.task.remove_done_callback(self._finished.put_nowait)
        error = host.interruption or host.failure
        if error is not None:
            raise error
        if not host.settled.done():
            raise asyncio.CancelledError  # by somebody else, before its first step
        self._readiness.opened(host.slot)

    async def cancel(self, error: BaseException) -> BaseException | None:
        """Cancel what this call started and is not open yet, and wait until it has ended; `error` is why.

        Returns a cancellation of the caller that arrived meanwhile. To be called again where it was interrupted.
        """
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        hosts = [slot.host for slot in self._started if slot.host is not None and slot.host.has_begun]
        opening = [host for host in hosts if host.is_opening and host.slot.is_claimed_by(self)]
        for host in opening:
            host.cancel_opening()
        interruption = await uninterrupted(_end_of(opening, tasks)) if opening or tasks else None
        for slot in self._started:
            if slot.is_claimed_by(self):  # nobody is at it any more
                host = slot.host
                await host.settle(error) if host is not None else settle(slot, error)
        ended = [task.exception() for task in tasks if task.done() and not task.cancelled()]
        lost = (each for each in (*ended, *(host.interruption for host in hosts)) if not isinstance(each, Exception))
        return interruption or next(filter(None, lost), None)

    def _start(self, slot: Slot) -> None:
        if not slot.node.is_async and self._ledger.max_workers == 1:
            self._blocking.append(slot)  # its turn comes, in this thread
        elif self._claim(slot):
            if slot.node.is_async:
                self._watch(Host(slot))
            else:
                task = self._loop.create_task(self._open_in_lane(slot))
                self._tasks.append(task)
                self._at[task] = slot, None
                task.add_done_callback(self._finished.put_nowait)

    def _claim(self, slot: Slot) -> bool:
        """Claim a slot, or let the queue tell when whoever is at it has ended."""
        self._started.add(slot)
        theirs = slot.claim(holder=self)
        if theirs is None:
            slot.loop = self._loop
            return True
        arrival = arrival_of(theirs, in_this_thread=slot.loop is self._loop)
        self._at[arrival] = slot, None
        arrival.add_done_callback(self._finished.put_nowait)
        return False

    def _watch(self, host: Host) -> None:
        for end in (host.settled, host.task):
            self._at[end] = host.slot, host
            end.add_done_callback(self._finished.put_nowait)

    async def _open_here(self, slot: Slot) -> None:
        if self._claim(slot):
            attempts = Attempts(slot)
            enter = partial(attempt_here, slot, attempts, on_loop=True, in_callers_context=self._in_callers_context)
            if await self._open_claimed(slot, attempts, lambda: _immediately(enter), self._pause) is not _WITH_A_HOST:
                self._readiness.opened(slot)

    async def _open_in_lane(self, slot: Slot) -> object:
        async with self._places:
            attempts = Attempts(slot)
            return await self._open_claimed(slot, attempts, lambda: _in_lane(slot, attempts))

    async def _pause(self, seconds: float) -> None:
        """Wait for the next attempt, no longer than until a signal comes whose handler raises."""
        end = self._loop.time() + seconds
        while (left := end - self._loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._signalled.wait(), left)
            self._signalled.clear()
            held_signals.deliver()

    async def _open_claimed(
        self,
        slot: Slot,
        attempts: Attempts,
        enter: Callable[[], Awaitable[None]],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> object:
        try:
            await attempt_async(attempts, enter, pause)
        except NeedsEventLoop as needs:
            self._watch(Host(slot, needs.made))
            return _WITH_A_HOST
        except BaseException as error:
            settle(slot, error)
            raise
        if slot.opened():
            slot.event("opened", attempts.seconds)
        elif (entered := slot.entered) is not None:
            closing = run_in_place(slot, partial(close_late, slot, entered))
            interruption = await uninterrupted(asyncio.wait([arrival_of(closing)]))
            slot.came_late()
            raise interruption or slot.closed_error() from closing.exception()
        return None


_WITH_A_HOST = object()  # it turned out to be asynchronous


async def _end_of(opening: Iterable[Host], tasks: Iterable[asyncio.Task[Any]]) -> None:
    for host in opening:
        await asyncio.wait([host.settled, host.task], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        await asyncio.wait([task])


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


def arrival_of(future: Future[Any], *, in_this_thread: bool = False) -> asyncio.Future[Future[Any]]:
    """Done on the running loop when a future is, which it gives: its result or exception is asked of that.

    `asyncio.wrap_future` hands on a new exception in the place of some, without cause and traceback. `in_this_thread`
    says that no other thread ends it.
    """
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[Future[Any]] = loop.create_future()
    arrive = partial(loop.call_soon_threadsafe, arrival.set_result)

    def tell(done: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop has closed since: nobody waits any more
            arrive(done)

    # A signal's handler interrupts the main thread only, where a callback of ours could be what it interrupts.
    future.add_done_callback(arrive if in_this_thread else tell)
    return arrival


async def _immediately(enter: Callable[[], None]) -> None:
    within(held_signals.let_through(), lambda _: enter())


async def _in_lane(slot: Slot, attempts: Attempts) -> None:
    entry = LaneEntry(slot, attempts, on_loop=True)
    try:
        await _until_entered(slot, attempts, entry)
    except BaseException as interruption:
        entry.interrupted(interruption)
        raise
    entry.result()


async def _until_entered(slot: Slot, attempts: Attempts, entry: LaneEntry) -> None:
    done = entry.start()
    entering = arrival_of(done)
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        # Nothing interrupts what runs in a lane. Unless its time is up it is waited for: what it opens needs what would
        # close meanwhile, and closes in its turn.
        left = slot.policy.close_timeout_seconds if attempts.limit is None else attempts.seconds_left()
        if left is None or left > 0:
            await uninterrupted(asyncio.wait([entering], timeout=left))
        if not entering.done() or done.exception() is not None:
            raise
