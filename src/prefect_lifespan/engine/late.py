"""What is still opening when its lifespan ends: who waits for it, for how long, and what is told where it takes longer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import wait

from prefect_lifespan.engine.closing import CloseReport
from prefect_lifespan.engine.slot import Ledger, Slot, State
from prefect_lifespan.errors import ResourceTimeoutError

Needs = Callable[[Slot], Iterable[Slot]]


class LateOpenings:
    """Openings that are under way when the lifespan ends: each sees that, and closes at once what it has opened.

    What one needs waits for it before it closes, and closing as a whole does, no longer than its limit. Whoever asked
    for it gets its error, or a LifespanClosedError.
    """

    def __init__(self, ledger: Ledger, needs: Needs, report: CloseReport) -> None:
        self._ledger = ledger
        self._needs = needs
        self._report = report
        self._given_up: set[Slot] = set()

    @property
    def left(self) -> list[Slot]:
        """Those to wait for."""
        under_way = (slot for slot in list(self._ledger.opening) if slot.state is State.OPENING)
        return [slot for slot in under_way if slot not in self._given_up]

    def users_of(self, slot: Slot) -> list[Slot]:
        """Those that need `slot`."""
        return [late for late in self.left if slot in self._needs(late)]

    def wait(self, slots: Iterable[Slot]) -> None:
        """Wait for some of them, without an event loop."""
        for slot in slots:
            under_way = slot.opening_under_way
            if under_way is not None and wait([under_way], timeout=slot.policy.close_timeout_seconds).not_done:
                self.give_up(slot)

    def give_up(self, slot: Slot) -> None:
        """Wait no longer for one of them; an error of closing."""
        if slot not in self._given_up:
            self._given_up.add(slot)
            late = ResourceTimeoutError(slot.path, "open", slot.policy.close_timeout_seconds or 0.0)
            self._report.raising.append(late)
            slot.event("open-failed", slot.clock.seconds, late)
