"""Decisions of closing that the blocking and the asynchronous driver share: what failed, and what the caller sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

from prefect_lifespan.engine.events import Event, Use
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import LifespanError, ResourceCloseError, ResourceTimeoutError
from prefect_lifespan.managers import manager
from prefect_lifespan.masking import text_of, told


@dataclass
class CloseReport:
    """What came of closing: errors of single resources, and an interruption that arrived meanwhile."""

    container: str
    outcome: Outcome
    raising: list[Exception] = field(default_factory=list[Exception])
    warned: list[Exception] = field(default_factory=list[Exception])
    translations: list[Exception] = field(default_factory=list[Exception])
    interruption: BaseException | None = None
    events: list[Event] = field(default_factory=list[Event])  # of other processes, which nobody has been told of here
    uses: list[Use] = field(default_factory=list[Use])  # of other processes too

    @property
    def told(self) -> Outcome:
        """What a resource that closes now is told: the body's exception, or what one before it has raised from that."""
        return self.translations[-1] if self.translations else self.outcome

    def record(self, slot: Slot, started: float, error: BaseException | None) -> None:
        """One resource has closed, with an error or without."""
        outcome, failure = self.told, self._note(slot, error)
        slot.closed()  # after its error is kept: until then an interruption lets it be closed again
        _tell(slot, started, failure, outcome)

    def take(self, slot: Slot, started: float, error: BaseException | None) -> None:
        """What came of closing a resource, whatever has become of its slot since."""
        outcome, failure = self.told, self._note(slot, error)
        _tell(slot, started, failure, outcome)

    def _note(self, slot: Slot, error: BaseException | None) -> BaseException | None:
        """Keep an error of closing; None where there is none."""
        if error is None or self.lets_through(error) or self._translates(error):
            # An initialiser that lets the body's exception through, or gives it another name, says that it has closed.
            return None
        if isinstance(error, Exception):
            add_note(error, f"{_WHERE} {slot.path}")
            (self.warned if slot.policy.on_close_error == "warn" else self.raising).append(error)
        else:
            self.interrupted(error)
        return error

    def give_up(self, slot: Slot) -> None:
        """A resource could not be closed, by a fault of this library: the others are tried all the same."""
        slot.closed()
        self.raising.append(
            LifespanError(f"{slot.path} was not closed, by a defect of prefect_lifespan: please report the error below")
        )

    def interrupted(self, error: BaseException | None) -> None:
        """A signal or a cancellation arrived, if any; it goes on when everything has been tried.

        Rather than an exception of another kind, which may be a fault of this library.
        """
        first = self.interruption
        if error is self.outcome or error is None:
            return
        if first is None or (isinstance(first, Exception) and not isinstance(error, Exception)):
            self.interruption = error

    def merge(self, other: CloseReport) -> CloseReport:
        """Take over what another report found."""
        # Once each: an interruption in here lets it be called again.
        self.raising += [error for error in other.raising if not _is_in(error, self.raising)]
        self.warned += [error for error in other.warned if not _is_in(error, self.warned)]
        new = [error for error in other.translations if not _is_in(error, [*self.translations, *self.raising])]
        self.raising += [error for error in new if not self._translates(error)]
        self.events += [event for event in other.events if not any(event is known for known in self.events)]
        self.uses += [use for use in other.uses if not any(use is known for known in self.uses)]
        self.interrupted(other.interruption)
        return self

    def settle(self) -> None:
        """Raise what the caller is to see beside the body's own exception, which goes its way by itself.

        Raises:
            BaseException: the interruption, when one arrived while closing.
            Exception: what a resource has raised from the body's exception; or, where the body succeeded, what the one
                resource raised that failed to close, and whose policy is "raise".
            ResourceCloseError: several did.
        """
        errors = [*self.raising, *self.warned]
        if self.interruption is not None:
            _note_all(self.interruption, [*self.translations[-1:], *errors])
            raise self.interruption
        if self.told is not None:
            _note_all(self.told, errors)
            if self.translations:
                raise self.translations[-1]
        elif len(self.raising) == 1:
            raise self.raising[0]
        elif self.raising:
            failed = "; ".join(f"{_where(error) or self.container} ({told(error)})" for error in self.raising)
            message = f"{len(self.raising)} resources of {self.container} failed to close: {failed}"
            raise ResourceCloseError(message, self.raising)

    def lets_through(self, error: BaseException) -> bool:
        """Whether an error is what the resource was told, perhaps in a group: so a task group lets it through."""
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            return all(self.lets_through(inner) for inner in group.exceptions)
        return error is self.outcome or any(error is translation for translation in self.translations)

    def _translates(self, error: BaseException) -> bool:
        """Whether an error was raised from what the resource was told; resources that close after that are told it.

        A signal and a cancellation cannot be translated: they go on.
        """
        if not isinstance(error, Exception) or not isinstance(self.told, Exception):
            return False
        cause, seen = error.__cause__, {id(error)}
        while cause is not None and cause is not self.told and id(cause) not in seen:
            seen.add(id(cause))
            cause = cause.__cause__
        if cause is not self.told:
            return False
        self.translations.append(error)
        return True


@manager
def closing_late(slot: Slot, seconds: float, told: Outcome = None) -> Generator[Outcome]:
    """Around the closing of what was entered, in `seconds`, after its lifespan had ended or its opening had been given up.

    Gives what it is told: the outcome of the lifespan, or else `told`. An error of it reaches the log and observers, the
    lifespan's end where that still waits for it, and the caller.
    """
    ending = slot.ledger.ending or CloseReport(slot.ledger.container, None)
    outcome, error = ending.told or told, None
    slot.event("opened", seconds)
    started = perf_counter()
    try:
        yield outcome
    except BaseException as raised:
        if raised is not outcome:
            error = raised
    ending.take(slot, started, error)
    if error is not None:
        raise error


def note_on_its_limit(slot: Slot, late: ResourceTimeoutError, seconds: float, error: Exception) -> None:
    """What opened in `seconds`, past its limit, has been closed again with an error: it is a note, and has its line."""
    report = CloseReport(slot.ledger.container, late)
    if not report.lets_through(error):
        slot.event("opened", seconds)
        report.take(slot, perf_counter(), error)
        _note_all(late, [error])


def _tell(slot: Slot, started: float, failure: BaseException | None, outcome: Outcome) -> None:
    slot.event("closed" if failure is None else "close-failed", perf_counter() - started, failure, outcome)


_WHERE = "while closing"

# Attempts at one step of closing. A step that is interrupted goes on where it was; none is interrupted as often.
ATTEMPTS = 20


def persist(report: CloseReport, step: Callable[[], object]) -> bool:
    """Run a step of closing to its end, again where a signal has interrupted it; False where that comes to nothing."""
    for _ in range(ATTEMPTS):
        try:
            step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False


async def apersist(report: CloseReport, step: Callable[[], Awaitable[object]]) -> bool:
    """The same for a step that is awaited."""
    for _ in range(ATTEMPTS):
        try:
            await step()
            return True
        except GeneratorExit:
            raise  # the coroutine is dropped: its loop is gone
        except BaseException as interruption:
            report.interrupted(interruption)
    return False


def _is_in(error: Exception, errors: Iterable[Exception]) -> bool:
    return any(other is error for other in errors)


def add_note(error: BaseException, note: str) -> None:
    """Add a note once, also where one and the same exception object comes by again.

    Never raises: an exception that takes no notes goes on without.
    """
    with suppress(Exception):
        notes = notes_of(error)
        if note in notes:
            return
        try:
            BaseException.add_note(error, note)
        except Exception:  # a class that takes no attributes, as a frozen dataclass
            BaseException.__setattr__(error, "__notes__", [*notes, note])


def notes_of(error: BaseException) -> Sequence[str]:
    """The notes of an exception, whatever its class does for attributes that are missing."""
    try:
        return tuple(getattr(error, "__notes__", ()))
    except Exception:
        return ()


def _where(error: BaseException) -> str:
    """The resource whose closing raised it."""
    return next((note.removeprefix(f"{_WHERE} ") for note in notes_of(error) if note.startswith(_WHERE)), "")


def _note_all(error: BaseException, errors: Iterable[Exception]) -> None:
    for other in errors:
        where = " ".join(part for part in (_WHERE, _where(other)) if part)
        text = text_of(other)
        add_note(error, f"{where}, {type(other).__name__} was raised{f': {text}' if text else ''}")


def closing_plan(opened: Iterable[Slot], needs: Callable[[Slot], Iterable[Slot]]) -> dict[Slot, int]:
    """For each open slot, last opened first, how many open ones need it: it may close when that is zero."""
    users = dict.fromkeys(reversed(list(opened)), 0)
    for slot in users:
        for needed in needs(slot):
            if needed in users:
                users[needed] += 1
    return users
