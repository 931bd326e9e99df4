"""A blocking resource in a thread of its own, for a caller who may stop waiting, and may be gone when it closes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from time import perf_counter
from typing import TypeVar

from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.places.staying import stay, while_opening
from prefect_lifespan.engine.schedule.claim import Attempt
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.engine.threads import ResourceThread
from prefect_lifespan.signal_safe import Promise

T = TypeVar("T")


class InThread:
    """A thread that the resource is entered in, stays in, and is exited in, in a context of its own."""

    def __init__(self, slot: Slot, attempt: Attempt, *, on_loop: bool) -> None:
        self._slot = slot
        self._attempt = attempt
        self._on_loop = on_loop
        self.entered: Entered = Entered()
        self.context: ResourceContext = while_opening(slot, ResourceContext)
        self.entering: Future[None] = Promise()
        self.thread: ResourceThread | None = None
        self._exiting: Future[None] | None = None

    @property
    def loop(self) -> None:
        """It lives on none."""

    def begin(self) -> None:
        """Let it be entered; `entering` is done when it is open, or has raised."""
        # Until its turn comes.
        self._attempt.pause(perf_counter())
        self._slot.schedule.threads.submit(self.entering, self._enter, self.context.context)

    def enter_in(self, thread: ResourceThread) -> None:
        """Enter it in the calling thread, which is one that resources stay in: an initialiser there asks for it."""
        self.context.context.run(self._enter, thread)

    def _enter(self, thread: ResourceThread) -> None:
        # Said by the thread itself, so that whoever was interrupted when it began knows too.
        self.thread = thread
        slot = self._slot
        self._attempt.start(perf_counter())
        enter_blocking(self.entered, call_of(slot.provider), slot.path, on_loop=self._on_loop)
        if self.entered.has_exit:
            thread.holds.add(slot)
        # Here and now: whoever asked for it may wait no longer, and the thread be about to end.
        try:
            stay(slot, self, self._attempt)
        except BaseException:
            thread.holds.discard(slot)
            raise

    def cancel(self) -> bool:
        """Let it not begin; False where it has begun, and is waited for."""
        return self.entering.cancel()

    def leave_behind(self) -> None:
        """Nobody waits for it any more."""
        self.entering.cancel()  # it may not have begun
        if self.thread is not None:
            self._slot.schedule.threads.drop(self.thread, self._slot.path)
        self.entering.add_done_callback(_discard_made)

    def begin_exit(self, outcome: Outcome) -> Future[None] | None:
        """Exit it in its thread; here where that is the caller's, or where there is nothing to be closed."""
        close = partial(self.entered.close, outcome)
        closing = self.context.closing(close)
        if not self.entered.has_exit:  # in its thread another one may hang that was opened there after it
            close()
            return None
        if self._exiting is None:  # else whoever closes it was interrupted
            self._exiting = self.run(closing)
            if self._exiting is None:
                self.context.context.run(closing)
                self._no_longer_holds()
            else:
                self._exiting.add_done_callback(self._no_longer_holds)
        return self._exiting

    def run(self, function: Callable[[], T]) -> Future[T] | None:
        """Let something be done in its thread and context; None where the caller is there already."""
        assert self.thread is not None, "it has been entered"
        if self.thread.is_current:
            return None
        done: Future[T] = Promise()
        self.thread.submit(done, function, self.context.context)
        return done

    @property
    def hangs(self) -> bool:
        """Whether another resource hangs in the one thread that could exit it."""
        return self.thread is not None and self.thread.hangs_in is not None

    def cancel_exit(self) -> None:
        """Nothing interrupts what runs in a thread."""

    def leave_open(self) -> list[str]:
        """Leave the thread behind; the path of what hangs in it already."""
        assert self.thread is not None, "it has been entered"
        waiting = [] if self.thread.hangs_in is None else [self.thread.hangs_in]
        self._slot.schedule.threads.drop(self.thread, self._slot.path)
        return waiting

    def _no_longer_holds(self, _: object = None) -> None:
        if self.thread is not None:
            self.thread.holds.discard(self._slot)


def _discard_made(entering: Future[None]) -> None:
    error = None if entering.cancelled() else entering.exception()
    if isinstance(error, NeedsEventLoop):
        error.discard()
