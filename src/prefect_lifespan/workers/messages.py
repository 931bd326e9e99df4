"""What a driver and its worker processes tell each other at the end of a lifespan: the outcome, and what failed to close.

Exceptions go as they are where they can be pickled, and unpickled on the other side; otherwise their type's name and
their notes stand in for them.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from prefect_lifespan.engine import CloseReport, Event
from prefect_lifespan.engine.events import Use
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.notes import add_note, notes_of
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.masking import text_of
from prefect_lifespan.workers.remote_workers import Dumps, cloudpickled

# How long a worker process that has something to say may take, beyond what it does; one that is stopped says nothing.
ANSWER_SECONDS = 30.0


class FailedElsewhere(LifespanError):
    """Stands for an exception that did not survive the way from another process; its text names the type."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An exception on its way: its bytes where it can be pickled, and what is left of it where they are of no use.

    Each by itself, so that one that the other side cannot load (it may lack the package) spoils nothing else.
    """

    kind: str
    text: str
    notes: tuple[str, ...]
    pickled: bytes | None = field(repr=False)

    @classmethod
    def of(cls, error: BaseException, dumps: Dumps) -> Sent:
        """The exception as it travels. Many pickle, and cannot be unpickled: not even here."""
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        text, notes = text_of(error), tuple(notes_of(error))
        with suppress(Exception):
            pickled = dumps(error)
            if type(pickle.loads(pickled)) is type(error):  # noqa: S301 - what was dumped just now
                return cls(kind, text, notes, pickled)
        return cls(kind, text, notes, None)

    def arrived(self) -> BaseException:
        """The exception itself, or what stands for it."""
        with suppress(Exception):
            if self.pickled is not None:
                error: BaseException = pickle.loads(self.pickled)  # noqa: S301 - from a process of the same run
                for note in self.notes:  # not all exceptions bring theirs along
                    add_note(error, note)
                return error
        why = f"cannot be {'pickled' if self.pickled is None else 'unpickled'}"
        stand_in = FailedElsewhere(f"{self.kind}, which {why}{self.text and f': {self.text}'}")
        for note in self.notes:
            add_note(stand_in, note)
        return stand_in


@dataclass(frozen=True, slots=True)
class End:
    """A lifespan has ended: its outcome, and the seconds that tasks which still run have; None for no limit."""

    sent: Sent | None
    grace: float | None

    @property
    def outcome(self) -> Outcome:
        """The outcome, as far as it survived the way: one that failed has failed in any case."""
        return None if self.sent is None else self.sent.arrived()

    @classmethod
    def dumped(cls, outcome: Outcome, grace: float | None, dumps: Dumps) -> bytes:
        """The message as bytes."""
        return pickle.dumps(cls(None if outcome is None else Sent.of(outcome, dumps), grace))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker process says at once when a lifespan has ended: how many seconds closing may take, None for no limit."""

    seconds: float | None

    def dumped(self) -> bytes:
        """The message as bytes."""
        return pickle.dumps(self)


@dataclass(frozen=True, slots=True)
class Closed:
    """What a worker process says when it has closed a lifespan: which resources did not close, and what observers hear."""

    raising: tuple[Sent, ...]
    warned: tuple[Sent, ...]
    translations: tuple[Sent, ...]
    events: tuple[Event, ...] = ()
    uses: tuple[Use, ...] = ()

    @classmethod
    def dumped(cls, report: CloseReport) -> bytes:
        """The report of closing, as bytes."""
        raising, warned, translations = map(_sent, (report.raising, report.warned, report.translations))
        return pickle.dumps(cls(raising, warned, translations, tuple(report.events), tuple(report.uses)))

    def into(self, report: CloseReport) -> None:
        """Add what failed to the driver's own report."""
        here = CloseReport("", report.outcome, _exceptions(self.raising), _exceptions(self.warned))
        here.events += self.events
        here.uses += self.uses
        for error in _exceptions(self.translations):
            if isinstance(error, FailedElsewhere):
                here.raising.append(error)
            else:
                BaseException.__setattr__(error, "__cause__", report.outcome)  # which pickling has lost
                here.translations.append(error)
        report.merge(here)


def loaded(message: bytes) -> End | Heard | Closed:
    """A message from its bytes, which hold nothing but this module's own classes."""
    return pickle.loads(message)  # noqa: S301 - from a process of the same run, which has shown that it is


def _sent(errors: Iterable[Exception]) -> tuple[Sent, ...]:
    return tuple(Sent.of(error, cloudpickled) for error in errors)


def _exceptions(sent: tuple[Sent, ...]) -> list[Exception]:
    return [error for each in sent if isinstance(error := each.arrived(), Exception)]
