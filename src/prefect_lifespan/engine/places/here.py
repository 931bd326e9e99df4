"""A resource in the thread that opens it, which closes it as well."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial

from prefect_lifespan.engine.contexts import ResourceContext
from prefect_lifespan.engine.initialiser import Entered, Outcome, call_of, enter_blocking
from prefect_lifespan.engine.pauses import held_up_by, standing_still
from prefect_lifespan.engine.places.place import Endings
from prefect_lifespan.engine.schedule.commands import Remedy
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import Slot, while_opening
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.steps import within


class Here:
    """Nothing waits: it is entered, and exited, when the call returns.

    Context variables that its initialiser sets are the caller's with `in_callers_context`, which is for one that also
    closes it; else it has a context of its own, and its closer runs in the same.
    """

    remedy = Remedy.NONE
    failure: BaseException | None = None
    error: BaseException | None = None
    is_entering = is_exiting = was_stopped = was_cancelled = False

    def __init__(self, slot: Slot, *, in_callers_context: bool, on_loop: bool) -> None:
        self.entered = Entered()
        self._slot = slot
        self._in_callers_context = in_callers_context
        self._on_loop = on_loop
        self._context: ResourceContext | None = None

    def enter(self) -> None:
        """Run the initialiser; raises what it raises."""
        slot = self._slot
        enter = partial(while_opening, slot, self._enter)
        held_up = held_up_by(slot)
        within(standing_still(held_up), lambda _: enter()) if held_up else enter()

    def enter_on_loop(self) -> None:
        """The same; it holds up the loop, so that nothing but a signal could interrupt it."""
        within(held_signals.let_through(), lambda _: self.enter())

    def _enter(self) -> None:
        slot = self._slot
        enter = partial(enter_blocking, self.entered, call_of(slot.provider), slot.path, on_loop=self._on_loop)
        if self._in_callers_context:
            enter()
            return
        self._context = ResourceContext()
        self._context.context.run(enter)

    def stop(self, *, for_its_limit: bool) -> None:
        """Nobody can tell it: it runs where the caller does."""

    def abandon(self, told: BaseException) -> bool:  # noqa: ARG002 - the other places' need it
        """It comes to nothing where it has not been entered: nobody is at it any more."""
        return not self.entered.is_held

    def exit(self, outcome: Outcome) -> None:
        """Run the closer; raises what it raises."""
        context, close = self._context, partial(self.entered.close, outcome)
        close() if context is None else context.context.run(context.closing(close))

    def exit_on_loop(self, outcome: Outcome) -> None:
        """The same; it holds up the loop, so that nothing but a signal could interrupt it."""
        within(held_signals.let_through(), lambda _: self.exit(outcome))

    def pending(self) -> Future[None] | None:
        """Nothing."""
        return None

    def pending_on_loop(self) -> Endings:
        """Nothing."""
        return ()

    def patience(self, limit: float | None) -> float | None:
        """Nothing is waited for."""
        return limit

    def give_up(self) -> ResourceTimeoutError:
        """Its exit has not been called."""
        return ResourceTimeoutError(self._slot.path, "close", self._slot.policy.close_timeout_seconds or 0.0)
