"""A blocking resource in the calling thread, which is the one that closes it as well."""

from __future__ import annotations

from functools import partial

from prefect_lifespan.engine.clocks import while_holding_the_loop
from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.places.staying import stay, while_opening
from prefect_lifespan.engine.schedule.claim import Attempt
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.signal_safe import within


class Here:
    """The calling thread, in a context of the resource's own, or in the caller's."""

    def __init__(self, slot: Slot, attempt: Attempt, *, on_loop: bool, in_callers_context: bool) -> None:
        self._slot = slot
        self._attempt = attempt
        self._on_loop = on_loop
        self._in_callers_context = in_callers_context
        self.entered: Entered = Entered()
        self._context: ResourceContext | None = None  # None: the caller's

    @property
    def loop(self) -> None:
        """It lives on none."""

    def enter(self) -> None:
        """Enter it, so that it is open.

        Raises:
            NeedsEventLoop: it is to be entered asynchronously.
            Exception: the initialiser's own, or why it did not stay open.
        """
        slot = self._slot
        enter = self._enter if self._in_callers_context else self._enter_in_context_of_its_own
        # What else is being opened on the loop has to wait for this.
        if self._on_loop and len(slot.schedule.opening) > 1:
            within(while_holding_the_loop(slot), lambda _: while_opening(slot, enter))
        else:
            while_opening(slot, enter)

    def _enter_in_context_of_its_own(self) -> None:
        self._context = ResourceContext()
        self._context.context.run(self._enter)

    def _enter(self) -> None:
        slot = self._slot
        enter_blocking(self.entered, call_of(slot.provider), slot.path, on_loop=self._on_loop)
        stay(slot, self, self._attempt)

    def settle(self, error: BaseException) -> None:
        """What has been entered is open, or exited at once, although `error` has interrupted that."""
        if not self.entered.is_held:
            return
        if self._context is None:
            stay(self._slot, self, self._attempt, error)
        else:
            self._context.context.run(stay, self._slot, self, self._attempt, error)

    def begin_exit(self, outcome: Outcome) -> None:
        """Exit it, in its context."""
        if self._context is None:
            self.entered.close(outcome)
        else:
            self._context.context.run(self._context.closing(partial(self.entered.close, outcome)))

    def cancel_exit(self) -> None:
        """Nothing interrupts what runs here."""

    def leave_open(self) -> list[str]:
        """It waits for nobody."""
        return []
