"""One asynchronous resource in one asyncio task: entered and exited there, so that an anyio task group can be one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import anyio

from prefect_lifespan.engine.clocks import at_its_end
from prefect_lifespan.engine.closing import closing_late, note_on_its_limit
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.culprits import HostTask
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_async
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.opening import Attempts
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError
from prefect_lifespan.steps import awaited_within

# Beyond its limit, for an opener or a closer that was cancelled at it to come to its end; then it is left behind.
GRACE_SECONDS = 1.0


class Host:
    """The one asyncio task in which an asynchronous resource is entered, waits, and is exited.

    An exception of a signal's handler may end the task at any line of it. Whoever waits for it sees that: the opening
    takes the exception over and settles what has been entered, and closing lets another task exit it.
    """

    def __init__(self, slot: Slot, made: object = None) -> None:
        self.slot = slot
        self.error: BaseException | None = None  # of its closing
        self.failure: BaseException | None = None  # of its opening
        self._interruption: BaseException | None = None
        self._made = made  # what a blocking initialiser returned that turned out to be asynchronous
        self._attempts = Attempts(slot)
        self._entered = Entered()
        self._closing = asyncio.Event()
        self._outcome: Outcome = None
        self._context = ResourceContext()
        self._closer: Context | None = None  # the context of whoever closes it
        self._came_late = False  # it closes already
        self._cancellations = 0  # of the opening, which the resource need not follow
        self._timers: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        # Done when the claim to the opening is: it is open, has failed, or is left behind. `task` goes on till it closes.
        self.settled: asyncio.Future[None] = loop.create_future()
        slot.host, slot.found_asynchronous = self, True
        self.task = self._task_of(self._run(), loop)

    @property
    def is_to_be_left(self) -> bool:
        """Whether it has been entered, and its exit not been called."""
        return self._entered.has_exit and self._entered.is_held

    @property
    def has_begun(self) -> bool:
        """Whether its task has been made: not where it was interrupted before that."""
        return "task" in vars(self)

    @property
    def is_opening(self) -> bool:
        """Whether its task is at the opening."""
        return not self.settled.done() and not self.task.done()

    @property
    def interruption(self) -> BaseException | None:
        """What has ended its task before its time."""
        ended = self.task.done() and not self.task.cancelled()
        return self._interruption or (self.task.exception() if ended else None)

    def cancel_opening(self) -> None:
        """Let the opening end; `settled` tells when it has.

        An initialiser that comes to its end all the same has opened its resource, which closes in its turn. One that
        does not is cancelled again at the limit for closing, and left behind after its grace.
        """
        if not self._came_late and not self._cancellations:
            self._cancel()
        limit = self.slot.policy.close_timeout_seconds
        if limit is not None and not self._timers:
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
        if self.task.done() and self.is_to_be_left:
            self.task = self._task_of(self._leave(), self.task.get_loop())

    def close_from_outside(self, outcome: Outcome) -> Future[None]:
        """Let the resource be exited on its event loop, for a caller in another thread or after the loop has ended."""
        loop = self.task.get_loop()
        done: Future[None] = Future()
        if self.task.done() and not self.is_to_be_left:
            self._tell(done)
        elif loop is running_loop() or not loop.is_running():
            done.set_exception(
                LifespanError(f"{self.slot.path} was opened on an event loop: close it there, in a coroutine")
            )
        else:
            loop.call_soon_threadsafe(self.request_close, outcome)
            loop.call_soon_threadsafe(self._tell_when_done, done)
        return done

    def _tell_when_done(self, done: Future[None]) -> None:
        self.task.add_done_callback(partial(self._tell, done))

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
            self._attempts.give_up(error)
            self._failed(error)
            self.task.cancel()

    async def settle(self, error: BaseException | None) -> None:
        """End the opening, which `error` may have interrupted: what has been entered is open, or closes at once.

        That is where the lifespan has ended meanwhile, or the opening been left behind. Doing it again does nothing.
        """
        slot, entered = self.slot, self._entered
        if entered.is_held and not self.settled.done():
            slot.entered = entered
            if slot.opened():
                self._settled()
        if self.settled.done():
            if entered.is_held and self.failure is not None:
                await self._close_late(self.failure)
        elif entered.is_held:
            self._came_late = True
            try:
                await self._close_late(error)
            finally:
                if not self.settled.done():
                    slot.came_late()
                    self.failure = slot.closed_error()
                    self._settled()
        else:
            self._failed(error or asyncio.CancelledError())

    def _task_of(self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> HostTask:
        return HostTask(work, loop=loop, name=f"lifespan of {self.slot.path}", context=self._context.context)

    async def _close_late(self, told: Outcome) -> None:
        with suppress(Exception):  # the log and observers have heard of it, and the lifespan's end while that waits
            await awaited_within(closing_late(self.slot, self._entered.seconds, told), self._entered.aclose)

    def _failed(self, error: BaseException) -> None:
        if not self.settled.done():
            self.failure = error
            self.slot.failed(error)
            self._settled()

    def _settled(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self.settled.set_result(None)

    async def _run(self) -> None:
        try:
            await self._live()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            # Kept, and not raised: whoever opens raises it, and what leaves a task may leave the loop with it.
            self._interruption = error

    async def _live(self) -> None:
        slot, error = self.slot, None
        being_opened.set((*being_opened.get(), slot))
        try:
            await attempt_async(self._attempts, self._enter)
        except BaseException as raised:
            error = raised
        being_opened.set(())
        await self.settle(error)
        if error is not None:
            if isinstance(error, Exception) and not self._entered.is_held:
                return  # whoever opens is told
            raise error
        if self.failure is not None or self._came_late:
            return
        for _ in range(self._cancellations):  # they are over: a task group in the resource counts what is pending
            self.task.uncancel()
        slot.event("opened", self._attempts.seconds)
        if self._entered.has_exit:
            await self._stay()
            await self._leave()

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
                late, seconds = attempts.timeout(), attempts.seconds
                try:
                    await entered.aclose(late)
                except Exception as error:
                    note_on_its_limit(self.slot, late, seconds, error)
                raise late

    async def _stay(self) -> None:
        self.task.culprit = None  # what has failed meanwhile was the opening's
        while not self._closing.is_set():
            try:
                await self._closing.wait()
            except asyncio.CancelledError as cancelled:
                if self.slot.ledger.is_being_cancelled and self.task.culprit is None:
                    continue  # the loop is shutting down and cancels every task: this one's turn comes, in order
                if self.task.culprit is None and not self.slot.ledger.has_owner:
                    self.slot.ended()  # with its loop: nobody is left to close it
                    self._closing.set()
                else:
                    await self._stay_failed(self.task.culprit or cancelled)
                if self._outcome is None:
                    self._outcome = cancelled  # as a body in its place would have been told

    async def _leave(self) -> None:
        being_opened.set(())
        if self._closer is not None:
            self._context.renew(self._closer)
        limit_seconds = self.slot.policy.close_timeout_seconds
        limit = asyncio.timeout(limit_seconds)
        try:
            async with limit:
                await self._entered.aclose(self._outcome)
        except BaseException as error:
            late = isinstance(error, TimeoutError) and limit.expired()
            if late:
                self.error = ResourceTimeoutError(self.slot.path, "close", limit_seconds or 0.0)
            elif self._entered.is_held:
                raise  # before its exit was called
            elif error is not self._outcome:  # else it let through what it was told, which says that it has closed
                self.error = error

    async def _stay_failed(self, error: BaseException) -> None:
        """Out of use, because a child of a task group in the resource has failed: it is exited in its turn all the same.

        Whoever uses it closes before. A cancellation of the task itself ends the waiting where nobody is left to close it.
        """
        self.slot.failed_while_open(error)
        # Unshielded, anyio would go on cancelling the task with every turn of the loop, as it is in a cancelled scope.
        with anyio.CancelScope(shield=True):
            while not self._closing.is_set():
                try:
                    await self._closing.wait()
                except asyncio.CancelledError:
                    if not self.slot.ledger.has_owner:
                        self._closing.set()


async def attempt_async(
    attempts: Attempts,
    enter: Callable[[], Awaitable[None]],
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Enter with the attempts that a policy grants, each within its limit, and a `pause` between them."""
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
        await pause(delay)


def _expire(limit: asyncio.Timeout) -> None:
    limit.reschedule(asyncio.get_running_loop().time())
