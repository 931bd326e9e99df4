"""Entering a resource in a lane, for a caller who may stop waiting; and closing what nobody waits for any more."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress

from prefect_lifespan.engine.clocks import done_in_time
from prefect_lifespan.engine.closing import closing_late
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, NeedsEventLoop, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.lanes import Lane
from prefect_lifespan.engine.opening import Attempts, while_opening
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.steps import under, within


def close_late(slot: Slot, entered: Entered, told: Outcome = None) -> None:
    """Close what was entered when nobody could have it any more; nothing where that has been done."""
    if not entered.is_left:
        within(closing_late(slot, entered.seconds, told), entered.close)


class LaneEntry:
    """One attempt in a lane, whose caller may stop waiting: what it enters after that, it closes itself."""

    def __init__(self, slot: Slot, attempts: Attempts, *, on_loop: bool) -> None:
        self._slot = slot
        self._attempts = attempts
        self._on_loop = on_loop
        self._lock = threading.Lock()
        self._abandoned: BaseException | None = None  # what whoever asked for it has seen
        self._entered: Entered | None = None
        self._lane: Lane | None = None
        self._entering: Future[None] | None = None

    def start(self) -> Future[None]:
        """Let the lane begin; done when it has entered."""
        slot = self._slot
        slot.context = while_opening(slot, ResourceContext)
        self._attempts.clock.pause()  # until its turn comes
        self._lane, self._entering = slot.ledger.lanes.submit(self._run, slot.context.context)
        slot.lane = self._lane
        return self._entering

    def wait(self) -> None:
        """Start, and wait for it as long as an attempt may take."""
        entering = self.start()
        in_time = done_in_time(entering, self._attempts.seconds_left)
        if not in_time and self.abandon(late := self._attempts.timeout()):
            raise late
        self.result()

    def result(self) -> None:
        """Raises what entering has raised."""
        if self._entering is not None:
            self._entering.result()

    def _run(self, lane: Lane) -> None:
        self._attempts.clock.start()
        made = Entered()
        enter_blocking(made, call_of(self._slot.provider), self._slot.path, on_loop=self._on_loop)
        if made.has_exit:
            lane.holds.add(self._slot)
        with self._lock:
            self._entered = made
            if self._abandoned is None:
                self._slot.entered = made
        # Here and now: the lane may be stopped before it could be given more to do.
        if self._abandoned is not None or self._slot.ledger.ended:
            with suppress(Exception):  # the log and observers have heard of it, and the lifespan's end while that waits
                close_late(self._slot, made, self._abandoned)

    def abandon(self, error: BaseException) -> bool:
        """Stop waiting, and raise `error` instead; False when it has been entered meanwhile."""
        under(self._lock, self._abandon, error)
        if self._abandoned is not None and self._lane is not None:
            self._slot.ledger.lanes.drop(self._lane, self._slot.path)
            if self._entering is not None:
                self._entering.add_done_callback(_discard_made)
        return self._abandoned is not None

    def _abandon(self, error: BaseException) -> None:
        if self._entered is None:
            self._abandoned = error

    def interrupted(self, error: BaseException) -> None:
        """The caller was interrupted, the initialiser was not: what it has entered by now is the slot's to close."""
        if self._entering is None or not self._entering.done():
            self.abandon(error)
        else:
            _discard_made(self._entering)


def _discard_made(entering: Future[None]) -> None:
    error = entering.exception()
    if isinstance(error, NeedsEventLoop):
        error.discard()
