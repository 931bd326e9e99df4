"""The states of a resource, and which change leads from which state to which.

PENDING ── claimed ──→ OPENING ── opened ──→ OPEN ── closing ──→ CLOSING ── closed ──→ CLOSED
↑                    │    └───────────── came late ────────────────────────────────────↑
└───── failed ───────┘
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING


class State(Enum):
    """Where a resource stands."""

    if not TYPE_CHECKING:  # what it says of types is what `Enum`'s own says
        __hash__ = object.__hash__  # a member is one object; `Enum`'s own is a call for each look into a table

    PENDING = auto()  # nobody has asked for it, or nobody has been able to open it
    OPENING = auto()  # one caller has the claim to open it, everybody else waits for that
    OPEN = auto()
    CLOSING = auto()  # out of use: its exit is called, or it waits for whoever calls that
    CLOSED = auto()


class Change(Enum):
    """What may happen to a resource."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__

    CLAIMED = "claimed"
    OPENED = "opened"
    FAILED = "failed"
    CAME_LATE = "come too late"
    CLOSING = "closing"
    CLOSED = "closed"


_AFTER = {
    (Change.CLAIMED, State.PENDING): State.OPENING,
    (Change.OPENED, State.OPENING): State.OPEN,
    (Change.FAILED, State.OPENING): State.PENDING,
    (Change.CAME_LATE, State.OPENING): State.CLOSED,
    (Change.CLOSING, State.OPEN): State.CLOSING,
    # Again: the same closer, whom a signal has interrupted, or the first one of what has ended by itself.
    (Change.CLOSING, State.CLOSING): State.CLOSING,
    (Change.CLOSED, State.CLOSING): State.CLOSED,
    # Again: whoever was interrupted before it could note that.
    (Change.CLOSED, State.CLOSED): State.CLOSED,
}

_WHILE = {
    State.PENDING: "nobody is opening it",
    State.OPENING: "it is being opened",
    State.OPEN: "it is open, and nobody is closing it",
    State.CLOSING: "it is being closed",
    State.CLOSED: "it has closed for good",
}


class IllegalChangeError(RuntimeError):
    """A resource was told something that cannot happen in its state: a defect of this library."""

    def __init__(self, resource: str, change: Change, state: State) -> None:
        super().__init__(
            f"{resource} was noted as {change.value} while {_WHILE[state]} ({state.name}). "
            "This is a defect of prefect_lifespan: please report it"
        )


def after(change: Change, state: State, resource: str) -> State:
    """The state that a change leads to.

    Raises:
        IllegalChangeError: a resource in that state cannot change so.
    """
    try:
        return _AFTER[change, state]
    except KeyError:
        raise IllegalChangeError(resource, change, state) from None
