"""Decisions of closing that the blocking and the asynchronous driver share: what failed, and what the caller sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import ResourceCloseError


@dataclass
class CloseReport:
    """What came of closing: errors of single resources, and an interruption that arrived meanwhile."""

    container: str
    outcome: Outcome
    raising: list[Exception] = field(default_factory=list[Exception])
    warned: list[Exception] = field(default_factory=list[Exception])
    interruption: BaseException | None = None

    def record(self, slot: Slot, started: float, error: BaseException | None) -> None:
        """One resource has closed, with an error or without."""
        slot.closed()
        seconds = perf_counter() - started
        if error is None or _is_just(error, self.outcome):
            # An initialiser that lets the body's exception through says that it has closed.
            slot.event("closed", seconds, outcome=self.outcome)
            return
        slot.event("close-failed", seconds, error, self.outcome)
        if not isinstance(error, Exception):
            self.interrupted(error)
            return
        add_note(error, f"while closing {slot.path}")
        (self.warned if slot.policy.on_close_error == "warn" else self.raising).append(error)

    def interrupted(self, error: BaseException | None) -> None:
        """A signal or a cancellation arrived, if any; it goes on when everything has been tried."""
        if self.interruption is None and error is not self.outcome:
            self.interruption = error

    def merge(self, other: CloseReport) -> CloseReport:
        """Take over what another report found."""
        self.raising += other.raising
        self.warned += other.warned
        self.interrupted(other.interruption)
        return self

    def settle(self) -> None:
        """Raise what the caller is to see beside the body's own exception, which goes its way by itself.

        Raises:
            BaseException: the interruption, when one arrived while closing.
            ResourceCloseError: the body succeeded and a resource whose policy is "raise" failed to close.
        """
        errors = [*self.raising, *self.warned]
        if self.interruption is not None:
            _note_all(self.interruption, errors)
            raise self.interruption
        if self.outcome is not None:
            _note_all(self.outcome, errors)
        elif self.raising:
            count = len(self.raising)
            message = f"{count} resource{'s' if count > 1 else ''} of {self.container} failed to close"
            raise ResourceCloseError(message, self.raising)


def _is_just(error: BaseException, outcome: Outcome) -> bool:
    """Whether an error is the outcome that went in, perhaps in a group: so a task group lets it through."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return all(_is_just(inner, outcome) for inner in group.exceptions)
    return error is outcome


def add_note(error: BaseException, note: str) -> None:
    """Add a note once, also where one and the same exception object comes by again."""
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def closing_plan(opened: Iterable[Slot], needs: Callable[[Slot], Iterable[Slot]]) -> dict[Slot, int]:
    """For each open slot, last opened first, how many open ones need it: it may close when that is zero."""
    users = dict.fromkeys(reversed(list(opened)), 0)
    for slot in users:
        for needed in needs(slot):
            if needed in users:
                users[needed] += 1
    return users


def _note_all(error: BaseException, errors: Iterable[Exception]) -> None:
    for other in errors:
        where = next((note for note in getattr(other, "__notes__", ()) if note.startswith("while closing")), "")
        add_note(error, f"{where or 'while closing'}, {type(other).__name__} was raised: {other}")
