"""What the schedules say is to be done, as data, and what is told back of a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from prefect_lifespan.engine.schedule.limits import Openable

R = TypeVar("R", bound=Openable)


class Remedy(Enum):
    """What can be done about an opening that takes too long, or that nobody wants any more."""

    NONE = auto()  # it runs where the opener runs: its limit is looked at when it is done
    LEAVE = auto()  # it cannot be interrupted, as what runs in a thread: it is left behind
    STOP = auto()  # it can be told to stop, as what runs in a task, and is left behind where it does not


@dataclass(frozen=True, slots=True)
class Enter(Generic[R]):
    """Claim it, where this is its first attempt, and enter it: `elsewhere`, `begun`, `entered` or `failed` tells."""

    resource: R


@dataclass(frozen=True, slots=True)
class Stop(Generic[R]):
    """Tell it to stop."""

    resource: R
    for_its_limit: bool  # and it is too late, whatever comes of it


@dataclass(frozen=True, slots=True)
class Leave(Generic[R]):
    """Wait for it no longer, and tell `failed`: what it enters later, it exits by itself, being told `told`."""

    resource: R
    error: BaseException
    told: BaseException
    again: bool  # whether another attempt may follow


@dataclass(frozen=True, slots=True)
class Exit(Generic[R]):
    """Exit it: `exiting` or `closed` tells."""

    resource: R


@dataclass(frozen=True, slots=True)
class GiveUp(Generic[R]):
    """Wait for its exit no longer, unless it has just ended: `closed` tells."""

    resource: R


@dataclass(frozen=True, slots=True)
class GiveUpOpening(Generic[R]):
    """Wait for its opening, which was under way, no longer, unless it has just ended: `opening_ended` tells."""

    resource: R


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until something is to be told, or that many seconds have gone by."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """Everything is open; or `failure` says why not, and nothing is under way any more."""


OpeningCommand: TypeAlias = "Enter[R] | Stop[R] | Leave[R] | Wait | Done"
ClosingCommand: TypeAlias = "Exit[R] | GiveUp[R] | GiveUpOpening[R] | Wait | Done"


class Failed(NamedTuple):
    """What a failed attempt comes to: what is told of it, and the error that it counts as."""

    kind: Literal["open-retried", "open-failed"]
    error: BaseException
