"""Opening and closing on an event loop.

An asynchronous resource is entered and exited in one asyncio task of its own, its host, so that an anyio task group or
a cancel scope can be a resource. Blocking resources stay in the calling thread, one after another, while hosts wait
for their input and output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from prefect_lifespan.engine.blocking import LaneEntry, Needs, attempt_here, run_in_place
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_async
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import Attempts, Readiness
from prefect_lifespan.engine.slot import Abandoned, Ledger, Slot, being_opened
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError

T = TypeVar("T")
Finished = tuple[Slot, Future[None]]


class Host:
    """The one asyncio task in which an asynchronous resource is entered, waits, and is exited."""

    def __init__(self, slot: Slot, made: object = None) -> None:
        self.slot = slot
        self.error: BaseException | None = None
        self.begun = False
        self._made = made  # what a blocking initialiser returned that turned out to be asynchronous
        self._closing = asyncio.Event()
        self._outcome: Outcome = None
        slot.host = self
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"lifespan of {slot.path}")
        self.task.add_done_callback(_retrieved)

    def request_close(self, outcome: Outcome) -> None:
        """Let the resource be exited, with the outcome of the body; `task` is done when it has been."""
        self._outcome = outcome
        self._closing.set()

    def close_from_outside(self, outcome: Outcome) -> Future[None]:
        """Let the resource be exited on its event loop, for a caller in another thread or after the loop has ended."""
        loop = self.task.get_loop()
        done: Future[None] = Future()
        if self.task.done():
            self._tell(done)
        elif loop is running_loop() or not loop.is_running():
            done.set_exception(
                LifespanError(f"{self.slot.path} was opened on an event loop: close it there, in a coroutine")
            )
        else:
            loop.call_soon_threadsafe(self.task.add_done_callback, partial(self._tell, done))
            loop.call_soon_threadsafe(self.request_close, outcome)
        return done

    def _tell(self, done: Future[None], _: object = None) -> None:
        if self.error is None:
            done.set_result(None)
        else:
            done.set_exception(self.error)

    async def _run(self) -> None:
        slot = self.slot
        self.begun = True
        being_opened.set((*being_opened.get(), slot))
        attempts = Attempts(slot)
        try:
            entered = await attempt_async(attempts, self._enter)
        except BaseException as error:
            slot.failed(error)
            if isinstance(error, Exception):
                return
            raise
        being_opened.set(())
        if not slot.opened(entered):
            try:
                await entered.aclose(None)
            finally:
                slot.came_late()
            return
        slot.event("opened", attempts.seconds)
        if entered.exit is not None:
            await self._stay(entered)

    async def _enter(self) -> Entered:
        made, self._made = self._made, None
        return await enter_async(call_of(self.slot.provider)() if made is None else made)

    async def _stay(self, entered: Entered) -> None:
        while not self._closing.is_set():
            try:
                await self._closing.wait()
            except asyncio.CancelledError as cancelled:
                if self.slot.ledger.is_being_cancelled:
                    continue  # the loop is shutting down and cancels every task: this one's turn comes, in order
                # A child of a task group failed: the resource ends here.
                self.slot.ended()
                self._outcome = cancelled
                break
        limit_seconds = self.slot.policy.close_timeout_seconds
        limit = asyncio.timeout(limit_seconds)
        try:
            async with limit:
                await entered.aclose(self._outcome)
        except BaseException as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            if late:
                self.error = ResourceTimeoutError(self.slot.path, "close", limit_seconds or 0.0)
            elif error is not self._outcome:  # else it let through what it was told, which says that it has closed
                self.error = error


async def open_async(ledger: Ledger, slots: Iterable[Slot], needs: Needs, *, in_callers_context: bool) -> None:
    """Open slots on the running loop, each as soon as what it needs is open, asynchronous ones side by side.

    When one fails, those that this call started and that are still opening are cancelled and awaited, and the
    initialiser's own exception is raised.
    """
    opening = _Opening(ledger, Readiness(slots, needs), in_callers_context=in_callers_context)
    try:
        await opening.run()
    except BaseException:
        await opening.cancel()
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

    async def cancel(self) -> None:
        """Cancel what this call started and is not open yet, and wait until it has ended."""
        under_way = [host.task for host in self._hosts if host.slot in self._ledger.opening]
        under_way += [task for task in self._tasks if not task.done()]
        for task in under_way:
            task.cancel()
        if under_way:
            await uninterrupted(asyncio.wait(under_way))
        # A task that is cancelled before its first step never runs, and so never gives up its claim.
        for slot in (*self._queued, *(host.slot for host in self._hosts if not host.begun)):
            slot.failed(asyncio.CancelledError())
        self._queued.clear()

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

    async def _open_claimed(self, slot: Slot, attempts: Attempts, enter: Callable[[], Awaitable[Entered]]) -> None:
        try:
            entered = await attempt_async(attempts, enter)
        except NeedsEventLoop as needs:
            self._hosts.append(Host(slot, needs.made))
            return
        except BaseException as error:
            slot.failed(error)
            if isinstance(error, Exception):
                return
            raise
        if slot.opened(entered):
            slot.event("opened", attempts.seconds)
        else:
            closing = run_in_place(slot, partial(entered.close, None))
            await asyncio.wait([asyncio.wrap_future(closing)])
            slot.came_late()


async def attempt_async(attempts: Attempts, enter: Callable[[], Awaitable[Entered]]) -> Entered:
    """Enter with the attempts that a policy grants, each within its limit."""
    while True:
        attempts.start()
        limit = asyncio.timeout(attempts.limit)
        try:
            async with limit:
                return await enter()
        except NeedsEventLoop:
            raise
        except BaseException as error:
            final = attempts.timeout() if isinstance(error, TimeoutError) and limit.expired() else error
            delay = attempts.delay_after(final)
            if delay is None:
                if final is error:
                    raise
                raise final from error
        await asyncio.sleep(delay)


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


def _retrieved(task: asyncio.Task[None]) -> None:
    """A task's exception has reached whom it concerns another way; asyncio would log it as never retrieved."""
    if not task.cancelled():
        task.exception()


async def _immediately(enter: Callable[[], Entered]) -> Entered:
    return enter()


async def _in_lane(slot: Slot, attempts: Attempts) -> Entered:
    entry = LaneEntry(slot, on_loop=True)
    entering = asyncio.wrap_future(entry.entering)
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        # Nothing interrupts what runs in a lane. Unless its time is up it is waited for: what it opens needs what would
        # close meanwhile, and closes in its turn.
        limit = attempts.limit
        left = slot.policy.close_timeout_seconds if limit is None else limit - attempts.seconds
        if left is None or left > 0:
            await uninterrupted(asyncio.wait([entering], timeout=left))
        if entering.done() and entering.exception() is None:
            return entering.result()
        entry.discard()
        raise
