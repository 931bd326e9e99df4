"""What the caller sees of a closing: errors of single resources, translations of the body's exception, an interruption."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast

from prefect_lifespan.engine.events import Event, Use
from prefect_lifespan.engine.notes import add_note, notes_of
from prefect_lifespan.errors import LifespanError, ResourceCloseError
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.masking import summary_of, text_of

Outcome: TypeAlias = BaseException | None

_WHERE = "while closing"


class Closable(Protocol):
    """What a report asks of a resource that has closed."""

    path: str

    @property
    def policy(self) -> Policy:
        """What becomes of its errors."""
        ...


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

    def note(self, resource: Closable, error: BaseException | None) -> BaseException | None:
        """Keep an error of closing; None where there is none."""
        if error is None or self.lets_through(error) or self._translates(error):
            # An initialiser that lets the body's exception through, or gives it another name, says that it has closed.
            return None
        if isinstance(error, Exception):
            add_note(error, f"{_WHERE} {resource.path}")
            (self.warned if resource.policy.on_close_error == "warn" else self.raising).append(error)
        else:
            self.interrupted(error)
        return error

    def note_defect(self, resource: Closable) -> None:
        """A resource could not be closed, by a fault of this library: the others are tried all the same."""
        self.raising.append(
            LifespanError(
                f"{resource.path} was not closed, by a defect of prefect_lifespan: please report the error below"
            )
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
            note_all(self.interruption, [*self.translations[-1:], *errors])
            raise self.interruption
        if self.told is not None:
            note_all(self.told, errors)
            if self.translations:
                raise self.translations[-1]
        elif len(self.raising) == 1:
            raise self.raising[0]
        elif self.raising:
            failed = "; ".join(f"{_where(error) or self.container} ({summary_of(error)})" for error in self.raising)
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


def _is_in(error: Exception, errors: Iterable[Exception]) -> bool:
    return any(other is error for other in errors)


def _where(error: BaseException) -> str:
    """The resource whose closing raised it."""
    return next((note.removeprefix(f"{_WHERE} ") for note in notes_of(error) if note.startswith(_WHERE)), "")


def note_all(error: BaseException, errors: Iterable[Exception]) -> None:
    for other in errors:
        where = " ".join(part for part in (_WHERE, _where(other)) if part)
        text = text_of(other)
        add_note(error, f"{where}, {type(other).__name__} was raised{f': {text}' if text else ''}")
