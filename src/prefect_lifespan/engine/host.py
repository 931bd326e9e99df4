"""One asynchronous resource in one asyncio task: entered and exited there, so that an anyio task group can be one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial

from prefect_lifespan.engine.clocks import at_its_end
from prefect_lifespan.engine.closing import closing_late
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_async
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import Attempts
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError

# Beyond its limit, for an opener or a closer that was cancelled at it to come to its end; then it is left behind.
GRACE_SECONDS = 1.0


class Host:
    """The one asyncio task in which an asynchronous resource is entered, waits, and is exited."""

    def __init__(self, slot: Slot, made: object = None) -> None:
        self.slot = slot
        self.error: BaseException | None = None
        self._made = made  # what a blocking initialiser returned that turned out to be asynchronous
        self._attempts = Attempts(slot)
        self._entered = Entered()
        self._closing = asyncio.Event()
        self._outcome: Outcome = None
        self._context = ResourceContext()
        self._closer: Context | None = None  # the context of whoever closes it
        self._came_late = False  # it closes already
        self._left_behind_with: Outcome = None
        self._cancellations = 0  # of the opening, which the resource need not follow
        self._timers: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        # Done when the claim to the opening is: it is open, has failed, or is left behind. `task` goes on till it closes.
        self.settled: asyncio.Future[None] = loop.create_future()
        slot.host, slot.found_asynchronous = self, True
        self.task = loop.create_task(self._run(), name=f"lifespan of {slot.path}", context=self._context.context)
        self.task.add_done_callback(self._ended)

    def cancel_opening(self) -> None:
        """Let the opening end; `settled` tells when it has.

        An initialiser that comes to its end all the same has opened its resource, which closes in its turn. One that
        does not is cancelled again at the limit for closing, and left behind after its grace.
        """
        if not self._came_late:
            self._cancel()
        limit = self.slot.policy.close_timeout_seconds
        if limit is not None:
            loop = self.task.get_loop()
            late = ResourceTimeoutError(self.slot.path, "open", limit)
            self._timers += [
                loop.call_later(limit, self._cancel),
                loop.call_later(limit + GRACE_SECONDS, self._leave_behind, late),
            ]

    def request_close(self, outcome: Outcome) -> None:
        """Let the resource be exited, with the outcome of the body; `task` is done when it has been."""
        self._outcome, self._closer = outcome, copy_context()
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

    def _cancel(self) -> None:
        self._cancellations += 1
        self.task.cancel()

    def _leave_behind(self, error: ResourceTimeoutError) -> None:
        """Wait no longer for an initialiser that ignores its cancellation: what it enters, it closes itself."""
        if not self.settled.done():
            self._left_behind_with = error
            self._attempts.give_up(error)
            self._failed(error)
            self.task.cancel()

    def _failed(self, error: BaseException) -> None:
        if not self.settled.done():
            self.slot.failed(error)
            self._settle()

    def _settle(self) -> None:
        self.settled.set_result(None)
        for timer in self._timers:
            timer.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step never runs, and so never gives up its claim.
        self._failed(asyncio.CancelledError())
        # Its exception has reached whom it concerns another way; asyncio would log it as never retrieved.
        if not task.cancelled():
            task.exception()

    async def _run(self) -> None:
        slot = self.slot
        being_opened.set((*being_opened.get(), slot))
        try:
            await attempt_async(self._attempts, self._enter)
        except BaseException as error:
            self._failed(error)
            if isinstance(error, Exception):
                return
            raise
        being_opened.set(())
        entered, seconds = self._entered, self._attempts.seconds
        if self.settled.done():
            with closing_late(slot, seconds, self._left_behind_with) as outcome:
                await entered.aclose(outcome)
            return
        slot.entered = entered
        if not slot.opened():
            self._came_late = True
            try:
                with closing_late(slot, seconds) as outcome:
                    await entered.aclose(outcome)
            finally:
                if not self.settled.done():
                    slot.came_late()
                    self._settle()
            return
        self._settle()
        for _ in range(self._cancellations):  # they are over: a task group in the resource counts what is pending
            self.task.uncancel()
        slot.event("opened", self._attempts.seconds)
        if entered.has_exit:
            await self._stay(entered)

    async def _enter(self) -> None:
        self._entered = entered = Entered()
        attempts, made, limit = self._attempts, self._made, self._attempts.limit
        self._made = None

        def left() -> float | None:
            return None if limit is None else limit + GRACE_SECONDS - attempts.seconds

        with at_its_end(left, lambda: self._leave_behind(attempts.timeout())):
            await enter_async(entered, call_of(self.slot.provider)() if made is None else made, self.slot.path)
            if limit is not None and attempts.seconds >= limit and self.task.cancelling() > self._cancellations:
                # It was cancelled at its limit, and came to its end all the same.
                late = attempts.timeout()
                await entered.aclose(late)
                raise late

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
        if self._closer is not None:
            self._context.renew(self._closer)
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


async def attempt_async(attempts: Attempts, enter: Callable[[], Awaitable[None]]) -> None:
    """Enter with the attempts that a policy grants, each within its limit."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine of an event loop runs in a task"
    cancellations = task.cancelling()
    while True:
        attempts.start()
        limit = asyncio.timeout(None)
        expire = partial(_expire, limit)
        try:
            async with limit:
                with at_its_end(attempts.seconds_left, expire):
                    await enter()
            return
        except NeedsEventLoop:
            raise
        except BaseException as error:
            if task.cancelling() > cancellations:
                attempts.left = 0  # whatever error the initialiser made of it
            timed_out = isinstance(error, TimeoutError) and limit.expired()
            final = attempts.timeout() if timed_out and not isinstance(error, ResourceTimeoutError) else error
            delay = attempts.delay_after(final)
            if delay is None:
                if final is error:
                    raise
                raise final from error
        await asyncio.sleep(delay)


def _expire(limit: asyncio.Timeout) -> None:
    limit.reschedule(asyncio.get_running_loop().time())
