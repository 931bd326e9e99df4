"""An asynchronous resource in an asyncio task of its own: entered and exited there, so that an anyio task group can be one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import anyio

from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.culprits import ResourceTask
from prefect_lifespan.engine.initialiser import Entered, Outcome, enter_async, made_by
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.places.staying import exit_at_once
from prefect_lifespan.engine.schedule.claim import Attempt, Phase
from prefect_lifespan.engine.schedule.standing import Verdict
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError
from prefect_lifespan.signal_safe import Promise


class InTask:
    """The one task in which an asynchronous resource is entered, waits, and is exited.

    An exception of a signal's handler may end the task at any line of it. Whoever waits for it sees that: the opening
    takes the exception over and settles what has been entered, and closing lets another task exit it.
    """

    task: ResourceTask | None = None
    # The attempt: it is open, has failed, or is left behind; `task` goes on till it closes.
    is_over: bool = False
    failure: BaseException | None = None  # of entering
    exit_error: BaseException | None = None
    was_cancelled: bool = False  # while it was entering, by somebody else than for its limit
    _interruption: BaseException | None = None
    _cancellations = 0  # by its opening, which the resource need not follow
    _exits_at_once = False
    _told_to_exit = False
    _waiting: asyncio.Future[None] | None = None  # for that
    _outcome: Outcome = None
    _closer: Context | None = None  # the context of whoever closes it

    def __init__(
        self,
        slot: Slot,
        attempt: Attempt,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[InTask], object],
        context: ResourceContext,
        made: object = None,
    ) -> None:
        self.slot = slot
        self._attempt = attempt
        self._tell: Callable[[InTask], object] | None = tell  # whoever opens it, that the attempt is over
        self._made = made  # what a blocking initialiser returned that turned out to be asynchronous
        self.entered: Entered = Entered()
        self.context = context
        self.loop: asyncio.AbstractEventLoop = loop

    def begin(self) -> None:
        """Let it be entered."""
        self.slot.asynchronous = True
        self.task = self._task_of(self._run())

    @property
    def interruption(self) -> BaseException | None:
        """What has ended its task before its time."""
        task = self.task
        ended = task is not None and task.done() and not task.cancelled()
        return self._interruption or (task.exception() if task is not None and ended else None)

    @property
    def is_to_be_left(self) -> bool:
        """Whether it has been entered, and its exit not been called."""
        return self.entered.has_exit and self.entered.is_held

    # Entering

    def cancel(self) -> bool:
        """Let entering come to its end; False where that is waited for, as it always is.

        An initialiser that comes to its end all the same has opened its resource, which closes in its turn. What is
        exited at once already is left to that, unless it has been asked for twice. What is open already, and only has
        not been told of yet, stays so.
        """
        if self._exits_at_once:
            self._exits_at_once = False
        elif self.task is not None and not self.is_over:
            self._cancellations += 1
            self.task.cancel()
        return False

    def leave_behind(self) -> None:
        """Wait no longer for an initialiser that ignores its cancellation: what it enters, it closes itself."""
        self.is_over, self._tell = True, None
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            if await self._enter():
                while not self._told_to_exit:
                    try:
                        await self._telling_to_exit()
                    except asyncio.CancelledError as cancelled:
                        await self._stay_cancelled(cancelled)
                await self._leave()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            # Kept, and not raised: whoever opens raises it, and what leaves a task may leave the loop with it.
            self._interruption = error

    async def _enter(self) -> bool:
        """Enter it; whether it is open, and is to be exited."""
        slot, task, error = self.slot, self.task, None
        assert task is not None, "it runs"
        being_opened.set((*being_opened.get(), slot))
        try:
            made, self._made = self._made, None
            await enter_async(self.entered, made_by(slot.provider) if made is None else made, slot.path)
        except BaseException as raised:
            error = raised
        self.was_cancelled = task.cancelling() > self._cancellations
        is_open = (error is None and self._stays()) or await self.settle(error)
        if error is not None:
            if isinstance(error, Exception) and not self.entered.is_held:
                return False  # whoever opens is told
            raise error
        if is_open:
            for _ in range(self._cancellations):  # they are over: a task group in the resource counts what is pending
                task.uncancel()
            slot.event("opened", self._attempt.seconds(self.entered.at))
            task.culprit = None  # what has failed meanwhile was the opening's
        return is_open and self.entered.has_exit

    def _stays(self) -> bool:
        """Whether it has been entered and stays open, as most do: then the attempt is over."""
        stays = self.entered.is_held and self.slot.opened(self._attempt, self.entered.at) is Verdict.STAYS
        if stays:
            self._is_over()
        return stays

    async def settle(self, error: BaseException | None) -> bool:
        """End the attempt, which `error` may have ended: what has been entered is open, or exited at once.

        Whether it is open. Doing it again does nothing.
        """
        if self.entered.is_held:
            leaving = exit_at_once(self.slot, self, self._attempt, error)
            if leaving is None:
                self._is_over()
                return True
            self._exits_at_once = True
            exit_error: BaseException | None = None
            try:
                await self.entered.aclose(leaving.told)
            except BaseException as raised:
                exit_error = raised
            failure = leaving.ended(exit_error)
            if self.failure is None:
                self.failure = failure
        elif self.failure is None:
            self.failure = self._named(error or asyncio.CancelledError())
        self._is_over()
        return False

    def _named(self, error: BaseException) -> BaseException:
        """What whoever asked for it is to see: where it was cancelled at its limit, that."""
        cancelled = isinstance(error, (asyncio.CancelledError, TimeoutError)) and self._attempt.phase is Phase.CANCELLED
        if not cancelled or isinstance(error, ResourceTimeoutError):
            return error
        late = self._attempt.timeout()
        late.__cause__ = error
        return late

    def _is_over(self) -> None:
        tell = self._tell
        if tell is not None:
            self.is_over = True
            tell(self)
            self._tell = None

    # Staying

    def _telling_to_exit(self) -> asyncio.Future[None]:
        """Done when it is told to exit; another one each time: it is cancelled with the task."""
        self._waiting = self.loop.create_future()
        return self._waiting

    async def _stay_cancelled(self, cancelled: asyncio.CancelledError) -> None:
        """Its task has been cancelled while it was open."""
        schedule, culprit = self.slot.schedule, None if self.task is None else self.task.culprit
        if culprit is None and schedule.is_being_cancelled:
            return  # the loop is shutting down and cancels every task: this one's turn comes, in order
        if culprit is None and not schedule.has_owner:
            self.slot.ended()  # with its loop: nobody is left to close it
            self._may_exit()
        else:
            await self._stay_failed(culprit or cancelled)
        if self._outcome is None:
            self._outcome = cancelled  # as a body in its place would have been told

    async def _stay_failed(self, error: BaseException) -> None:
        """Out of use, because a child of a task group in the resource has failed: it is exited in its turn all the same.

        Whoever uses it closes before. A cancellation of the task itself ends the waiting where nobody is left to close it.
        """
        self.slot.failed_while_open(error)
        # Unshielded, anyio would go on cancelling the task with every turn of the loop, as it is in a cancelled scope.
        with anyio.CancelScope(shield=True):
            while not self._told_to_exit:
                try:
                    await self._telling_to_exit()
                except asyncio.CancelledError:
                    if not self.slot.schedule.has_owner:
                        self._may_exit()

    def _may_exit(self) -> None:
        self._told_to_exit = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # Exiting

    def request_exit(self, outcome: Outcome) -> asyncio.Task[None]:
        """Let the resource be exited, with the outcome of the body; the task is done when it has been."""
        self._outcome, self._closer = outcome, copy_context()
        self._may_exit()
        assert self.task is not None, "it has been entered"
        if self.task.done() and self.is_to_be_left:
            self.task = self._task_of(self._leave())
        return self.task

    def begin_exit(self, outcome: Outcome) -> Future[None]:
        """The same for a caller in another thread, or after the loop has ended."""
        done: Future[None] = Promise()
        if self.task is None or (self.task.done() and not self.is_to_be_left):
            self._note(done)
        elif self.loop is running_loop() or not self.loop.is_running():
            done.set_exception(
                LifespanError(f"{self.slot.path} was opened on an event loop: close it there, in a coroutine")
            )
        else:
            self.loop.call_soon_threadsafe(self.request_exit, outcome)
            self.loop.call_soon_threadsafe(self._note_when_done, done)
        return done

    def cancel_exit(self) -> None:
        """Its limit is over."""
        if self.task is not None:
            cancel = self.task.cancel
            cancel() if self.loop is running_loop() else self.loop.call_soon_threadsafe(cancel)

    def leave_open(self) -> list[str]:
        """Wait no longer for it."""
        self.cancel_exit()
        return []

    async def _leave(self) -> None:
        being_opened.set(())
        if self._closer is not None:
            self.context.renew(self._closer)
        try:
            await self.entered.aclose(self._outcome)
        except BaseException as error:
            if self.entered.is_held:
                raise  # before its exit was called
            if error is not self._outcome:  # else it let through what it was told, which says that it has closed
                self.exit_error = error

    def _note_when_done(self, done: Future[None]) -> None:
        assert self.task is not None, "it has been told to exit"
        self.task.add_done_callback(partial(self._note, done))

    def _note(self, done: Future[None], _: object = None) -> None:
        done.set_result(None) if self.exit_error is None else done.set_exception(self.exit_error)

    def _task_of(self, work: Coroutine[Any, Any, None]) -> ResourceTask:
        return ResourceTask(work, loop=self.loop, name=f"lifespan of {self.slot.path}", context=self.context.context)
