"""A resource in a thread of its own: entered there, and exited there, in a context of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import TypeVar

from prefect_lifespan.engine.arrivals import arrival_of
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.late import exit_late
from prefect_lifespan.engine.places.place import Endings
from prefect_lifespan.engine.schedule.commands import Remedy
from prefect_lifespan.engine.slot import Slot, while_opening
from prefect_lifespan.engine.threads import ResourceThread
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.steps import under

T = TypeVar("T")


class InThread:
    """Whoever waits for it may stop doing so: what is entered after that is exited by its own thread.

    With `thread`, the one that the caller runs in, it is entered there, and nothing is waited for.
    """

    was_stopped = was_cancelled = False

    def __init__(self, slot: Slot, *, on_loop: bool, thread: ResourceThread | None = None) -> None:
        self.entered = Entered()
        self._slot = slot
        self._on_loop = on_loop
        self._thread = thread
        self._is_here = thread is not None
        self._context: ResourceContext | None = None
        self._lock = threading.Lock()
        self._left_with: BaseException | None = None  # what is told to what is entered, when nobody waits any more
        self._is_in_time = False
        self._entering: Future[None] | None = None
        self._exiting: Future[None] | None = None

    @property
    def remedy(self) -> Remedy:
        """It can be left behind, unless the caller itself is at it."""
        return Remedy.NONE if self._is_here else Remedy.LEAVE

    @property
    def failure(self) -> BaseException | None:
        """What entering has raised."""
        return _raised(self._entering)

    @property
    def error(self) -> BaseException | None:
        """What exiting has raised."""
        return _raised(self._exiting)

    @property
    def is_entering(self) -> bool:
        """Whether its thread is at it, or is still to be."""
        return self._entering is not None and not self._entering.done()

    @property
    def is_exiting(self) -> bool:
        """The same of its exit."""
        return self._exiting is not None and not self._exiting.done()

    def enter(self) -> None:
        """Let the thread enter it, as soon as it is one of those that may open something."""
        slot = self._slot
        self._context = context = while_opening(slot, ResourceContext)
        if self._thread is not None:
            context.context.run(self._enter, self._thread)
            return
        slot.own_time.pause(perf_counter())  # until its turn comes
        self._thread, self._entering = slot.openings.threads.submit(self._enter, context.context)

    def enter_on_loop(self) -> None:
        """The same for a caller that awaits."""
        self.enter()

    def _enter(self, thread: ResourceThread) -> None:
        slot, entered = self._slot, self.entered
        self._thread = thread  # whoever submitted this may have been interrupted before it could say so
        slot.own_time.start(perf_counter())
        enter_blocking(entered, call_of(slot.provider), slot.path, on_loop=self._on_loop)
        if entered.has_exit:
            thread.holds.add(slot)
        under(self._lock, self._arrive)
        # Here and now: the thread may be stopped before it could be given more to do.
        if self._left_with is not None or slot.openings.ended:
            with suppress(Exception):  # the log and observers have heard of it, and the lifespan's end while that waits
                exit_late(slot, entered, self._left_with)
            thread.holds.discard(slot)

    def _arrive(self) -> None:
        self._is_in_time = self._left_with is None

    def stop(self, *, for_its_limit: bool) -> None:
        """Nothing interrupts what runs in a thread."""

    def abandon(self, told: BaseException) -> bool:
        """Wait no longer, and let nothing else be opened in its thread."""
        under(self._lock, self._leave, told)
        if self._left_with is None:
            return False
        self.leave_behind()
        if self._entering is not None:
            self._entering.add_done_callback(_discard_made)
        return True

    def _leave(self, told: BaseException) -> None:
        if not self._is_in_time:
            self._left_with = told

    def exit(self, outcome: Outcome) -> None:
        """Let the thread exit it."""
        if self._exiting is not None:
            return
        context, thread, holder = self._context, self._thread, self._slot
        assert context is not None, "it has been entered"
        assert thread is not None, "it has been entered"
        close = context.closing(partial(self.entered.close, outcome))
        if thread.is_current:
            try:
                context.context.run(close)
            finally:
                thread.holds.discard(holder)
            return
        self._exiting = exiting = thread.submit(close, context.context)
        exiting.add_done_callback(lambda _: thread.holds.discard(holder))

    def exit_on_loop(self, outcome: Outcome) -> None:
        """The same for a caller that awaits."""
        self.exit(outcome)

    def pending(self) -> Future[None] | None:
        """What its thread is at."""
        return self._exiting or self._entering

    def pending_on_loop(self) -> Endings:
        """The same for a caller that awaits."""
        pending = self.pending()
        return () if pending is None else (arrival_of(pending),)

    def run(self, function: Callable[[], T]) -> Future[T]:
        """Run something else where the resource lives, once it is open: what it gives may insist on its thread."""
        assert self._context is not None, "it has been entered"
        assert self._thread is not None, "it has been entered"
        return self._thread.submit(function, self._context.context)

    def leave_behind(self) -> None:
        """Let nothing else be opened in its thread, which hangs."""
        if self._thread is not None:
            self._slot.openings.threads.drop(self._thread, self._slot.path)

    def patience(self, limit: float | None) -> float | None:
        """None at all where another resource hangs in the one thread that could do it."""
        return 0.0 if self._thread is not None and self._thread.hangs_in is not None else limit

    def give_up(self) -> ResourceTimeoutError:
        """Leave the thread behind."""
        limit, thread = self._slot.policy.close_timeout_seconds or 0.0, self._thread
        waiting = [] if thread is None or thread.hangs_in is None else [thread.hangs_in]
        self.leave_behind()
        return ResourceTimeoutError(self._slot.path, "close", limit, waiting)


def _raised(future: Future[None] | None) -> BaseException | None:
    return future.exception() if future is not None and future.done() else None


def _discard_made(entering: Future[None]) -> None:
    error = entering.exception()
    if isinstance(error, NeedsEventLoop):
        error.discard()
