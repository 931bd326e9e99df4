"""A resource in an asyncio task of its own: entered and exited there, so that an anyio task group can be one."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextvars import Context, copy_context
from time import perf_counter

import anyio

from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, Outcome, call_of, enter_async
from prefect_lifespan.engine.late import LateExit
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.places.culprits import ResourceTask
from prefect_lifespan.engine.places.place import Endings
from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule.commands import Remedy
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError


class InTask:
    """The task enters the resource, says that it is open, stays until it is told to exit it, and does.

    An exception of a signal's handler may end the task at any line of it. Whoever waits for it sees that: the opening
    takes the exception over and settles what has been entered, and closing lets another task exit it.
    """

    remedy = Remedy.STOP

    def __init__(self, slot: Slot, made: object = None) -> None:
        """`made` is what a blocking initialiser returned that turned out to be asynchronous."""
        self.entered = Entered()
        self._slot = slot
        self._made = made
        self._context = ResourceContext()
        self._failure: BaseException | None = None
        self._error: BaseException | None = None
        self._stops = 0
        self._is_too_late = False  # it was told to stop for its limit: what it enters all the same is exited again
        self._left_with: BaseException | None = None  # what is told to what is entered, when nobody waits any more
        self._leaving = asyncio.Event()
        self._is_told = False  # to exit it, perhaps by another thread
        self._outcome: Outcome = None
        self._closer: Context | None = None  # the context of whoever closes it
        self._loop = asyncio.get_running_loop()
        self._reached: asyncio.Future[None] = self._loop.create_future()  # done when it has been entered
        self._exited_for_another: Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def failure(self) -> BaseException | None:
        """What entering has raised; or what has ended the task before its time."""
        task = self.task
        if self._failure is not None or task is None or not task.done():
            return self._failure
        # Before its first step, or in a line around those that keep what they have raised.
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    @property
    def error(self) -> BaseException | None:
        """What exiting has raised."""
        return self._error

    @property
    def is_entering(self) -> bool:
        """Whether its task is at the initialiser."""
        return self.task is not None and not self.task.done() and not self._reached.done()

    @property
    def is_exiting(self) -> bool:
        """Whether it was told to exit it, and is not done."""
        return self._is_told and self.task is not None and not self.task.done()

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to stop, and by nobody else."""
        return self.task is not None and 0 < self.task.cancelling() <= self._stops

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody else has cancelled it, as the end of the loop does."""
        return self.task is not None and self.task.cancelling() > self._stops

    def enter(self) -> None:
        """Only a caller that awaits can have it entered."""
        raise LifespanError(f"{self._slot.path} opens on an event loop. This is a defect of prefect_lifespan")

    def enter_on_loop(self) -> None:
        """Let the task begin."""
        slot = self._slot
        slot.found_asynchronous = True
        name = f"lifespan of {slot.path}"
        self.task = ResourceTask(self._run(), loop=self._loop, name=name, context=self._context.context)

    def stop(self, *, for_its_limit: bool) -> None:
        """Cancel the initialiser, unless it has just come to its end: what is open is not to be cancelled."""
        if self.task is not None and not self.entered.is_held:
            self._is_too_late = self._is_too_late or for_its_limit
            self._stops += 1
            self.task.cancel()

    def abandon(self, told: BaseException) -> bool:
        """Wait no longer for an initialiser that ignores its cancellation: what it enters, it exits itself."""
        if self.entered.is_held:
            return False
        self._left_with = told
        self.stop(for_its_limit=False)
        return True

    def exit(self, outcome: Outcome) -> None:
        """Let it be exited on its event loop, for a caller in another thread or after the loop has ended."""
        task = self.task
        if task is None or (task.done() and not self._is_to_be_left):
            return
        if self._loop is running_loop() or not self._loop.is_running():
            self._error = LifespanError(
                f"{self._slot.path} was opened on an event loop: close it there, in a coroutine"
            )
            return
        self._is_told, self._exited_for_another = True, Future()
        self._loop.call_soon_threadsafe(self._exit_for_another_thread, outcome, self._exited_for_another)

    def exit_on_loop(self, outcome: Outcome) -> None:
        """Tell the task to exit it; another task does, where that has come to its end before it was told."""
        if not self._leaving.is_set():
            self._outcome, self._closer = outcome, copy_context()
            self._is_told = True
            self._leaving.set()
        if self.task is None or (self.task.done() and self._is_to_be_left):
            self.task = self._loop.create_task(self._leave_after_all(), context=self._context.context)

    def pending(self) -> Future[None] | None:
        """The exit that another thread has asked for."""
        return self._exited_for_another

    def pending_on_loop(self) -> Endings:
        """The task; or what tells that it has entered it, and stays."""
        task = self.task
        return () if task is None else ((task,) if self._reached.done() else (self._reached, task))

    def patience(self, limit: float | None) -> float | None:
        """It limits itself: its grace is waited for as well."""
        return None if limit is None else limit + limits.GRACE_SECONDS

    def give_up(self) -> ResourceTimeoutError:
        """Leave the task behind."""
        if self.task is not None and not self.task.done() and self._loop is running_loop():
            self.task.cancel()
        return ResourceTimeoutError(self._slot.path, "close", self._slot.policy.close_timeout_seconds or 0.0)

    @property
    def _is_to_be_left(self) -> bool:
        return self.entered.has_exit and self.entered.is_held

    def _exit_for_another_thread(self, outcome: Outcome, done: Future[None]) -> None:
        self.exit_on_loop(outcome)
        if self.task is not None:
            self.task.add_done_callback(lambda _: done.set_result(None))

    # In the task

    async def _run(self) -> None:
        try:
            await self._live()
        except (asyncio.CancelledError, GeneratorExit) as error:
            self._failure = error
            raise
        except BaseException as error:
            # Kept, and not raised: whoever opens raises it, and what leaves a task may leave the loop with it.
            self._failure = error

    async def _live(self) -> None:
        slot, made, self._made = self._slot, self._made, None
        being_opened.set((*being_opened.get(), slot))
        await enter_async(self.entered, call_of(slot.provider)() if made is None else made, slot.path)
        being_opened.set(())
        if self._left_with is not None:
            await self._exit_late(self._left_with)
            return
        # Said here and not by who opens, for which the loop may have no turn before a child of the resource fails.
        is_open = not self._is_too_late and slot.opened()
        for _ in range(self._stops):  # they are over: a task group in the resource counts what is pending
            self._task.uncancel()
        self._task.culprit = None  # what has failed meanwhile was the opening's
        self._reached.set_result(None)
        if is_open:
            slot.event("opened", slot.own_time.seconds(perf_counter()))
        if self.entered.has_exit:
            await self._stay(is_open=is_open)
            await self._leave()

    @property
    def _task(self) -> ResourceTask:
        task = asyncio.current_task()
        assert isinstance(task, ResourceTask), "this runs in the resource's task"
        return task

    async def _exit_late(self, told: Outcome) -> None:
        late, error = LateExit(self._slot, self.entered, told), None
        try:
            await self.entered.aclose(late.outcome)
        except BaseException as raised:
            error = raised
        late.ended(error)

    async def _stay(self, *, is_open: bool) -> None:
        while not self._leaving.is_set():
            try:
                await self._leaving.wait()
            except asyncio.CancelledError as cancelled:
                culprit, openings = self._task.culprit, self._slot.openings
                if not is_open or (openings.is_being_cancelled and culprit is None):
                    continue  # the loop is shutting down and cancels every task: this one's turn comes, in order
                if culprit is None and not openings.has_owner:
                    self._slot.ended()  # with its loop: nobody is left to close it
                    self._leaving.set()
                else:
                    await self._stay_failed(culprit or cancelled)
                if self._outcome is None:
                    self._outcome = cancelled  # as a body in its place would have been told

    async def _stay_failed(self, error: BaseException) -> None:
        """Out of use, because a child of a task group in the resource has failed: it is exited in its turn all the same.

        Whoever uses it closes before. A cancellation of the task itself ends the waiting where nobody is left to close it.
        """
        self._slot.failed_while_open(error)
        # Unshielded, anyio would go on cancelling the task with every turn of the loop, as it is in a cancelled scope.
        with anyio.CancelScope(shield=True):
            while not self._leaving.is_set():
                try:
                    await self._leaving.wait()
                except asyncio.CancelledError:
                    if not self._slot.openings.has_owner:
                        self._leaving.set()

    async def _leave_after_all(self) -> None:
        """As another task than the one that has entered it."""
        being_opened.set(())
        await self._leave()

    async def _leave(self) -> None:
        if self._closer is not None:
            self._context.renew(self._closer)
        limit_seconds = self._slot.policy.close_timeout_seconds
        limit = asyncio.timeout(limit_seconds)
        try:
            async with limit:
                await self.entered.aclose(self._outcome)
        except BaseException as error:
            if isinstance(error, TimeoutError) and limit.expired():
                self._error = ResourceTimeoutError(self._slot.path, "close", limit_seconds or 0.0)
            elif self._is_to_be_left:
                raise  # before its exit was called
            elif error is not self._outcome:  # else it let through what it was told, which says that it has closed
                self._error = error
