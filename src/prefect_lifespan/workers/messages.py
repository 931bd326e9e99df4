"""What a driver and its worker processes tell each other at the end of a lifespan: the outcome, and what failed to close.

Exceptions go as they are where they can be pickled; otherwise their type's name stands in for them.
"""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass, field

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.workers.reach import Dumps, cloudpickled

# How long a worker process that has something to say may take, beyond what it does; one that is stopped says nothing.
ANSWER_SECONDS = 30.0


class FailedElsewhere(LifespanError):
    """Stands for an exception of another process that cannot be pickled; its text names the type."""


@dataclass(frozen=True, slots=True)
class End:
    """A lifespan has ended: its outcome, and the seconds that tasks which still run have; None for no limit."""

    outcome: Outcome
    grace: float | None

    def dumped(self, dumps: Dumps) -> bytes:
        """The message as bytes."""
        return dumps(End(self.outcome if self.outcome is None else _portable(self.outcome, dumps), self.grace))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a worker process says at once when a lifespan has ended: how many seconds closing may take, None for no limit."""

    seconds: float | None

    def dumped(self) -> bytes:
        """The message as bytes."""
        return pickle.dumps(self)


@dataclass(frozen=True, slots=True)
class Closed:
    """What a worker process says when it has closed an opening: the errors of resources that did not close."""

    raising: list[Exception] = field(default_factory=list[Exception])
    warned: list[Exception] = field(default_factory=list[Exception])

    @classmethod
    def dumped(cls, report: CloseReport) -> bytes:
        """The report of closing, as bytes."""
        return cloudpickled(cls(_all_portable(report.raising), _all_portable(report.warned)))

    def into(self, report: CloseReport) -> None:
        """Add what failed to the driver's own report."""
        report.raising += self.raising
        report.warned += self.warned


def loaded(message: bytes) -> End | Heard | Closed:
    """A message from its bytes."""
    return pickle.loads(message)  # noqa: S301 - from a process of the same run, which has shown that it is


def _all_portable(errors: list[Exception]) -> list[Exception]:
    return [
        error if (sent := _portable(error, cloudpickled)) is error else FailedElsewhere(str(sent)) for error in errors
    ]


def _portable(error: BaseException, dumps: Dumps) -> BaseException:
    """The error itself where it survives the way; many exceptions pickle, and cannot be unpickled."""
    with suppress(Exception):
        if type(pickle.loads(dumps(error))) is type(error):  # noqa: S301 - what was dumped just now
            return error
    stand_in = FailedElsewhere(f"{type(error).__module__}.{type(error).__qualname__}, which cannot be pickled")
    for note in getattr(error, "__notes__", ()):
        stand_in.add_note(note)
    return stand_in
