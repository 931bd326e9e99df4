"""What state a resource is in, and how it may get into another: one table, with a message for each change that is none.

PENDING → OPENING → OPEN → CLOSING → CLOSED
    ↑_________|        an opening that failed can be tried again
"""

from __future__ import annotations

from enum import Enum, auto

from prefect_lifespan.errors import LifespanError


class State(Enum):
    """Where a resource of one engine stands."""

    PENDING = auto()  # nobody has opened it, or nobody could
    OPENING = auto()  # one opener has the claim to it; everybody else waits for that one
    OPEN = auto()  # its value is given to whoever asks
    CLOSING = auto()  # out of use: somebody closes it, or it has ended by itself and waits for its closer
    CLOSED = auto()  # for good


class Change(Enum):
    """What happens to a resource."""

    CLAIMED = auto()  # by who opens it
    ENTERED = auto()  # by its initialiser, in time
    FAILED = auto()  # to open
    CAME_LATE = auto()  # it was entered when the lifespan had ended, and has been exited again
    TAKEN_OUT_OF_USE = auto()  # by its closer, or because it has ended by itself
    CLOSED = auto()  # well or badly
    FORKED = auto()  # it belongs to the parent of this process, which goes on with it


# Every pair stands here: a state where the change is legal, or what the error says where it is not.
_AFTER: dict[tuple[State, Change], State | str] = {
    (State.PENDING, Change.CLAIMED): State.OPENING,
    (State.PENDING, Change.ENTERED): "it was entered, and nobody had the claim to it",
    (State.PENDING, Change.FAILED): "its opening failed, and nobody had the claim to it",
    (State.PENDING, Change.CAME_LATE): "it came late, and nobody had the claim to it",
    (State.PENDING, Change.TAKEN_OUT_OF_USE): "it was to be closed, and is not open",
    (State.PENDING, Change.CLOSED): "it has closed, and was not open",
    (State.PENDING, Change.FORKED): State.CLOSED,
    (State.OPENING, Change.CLAIMED): "it was claimed a second time, while its opening is under way",
    (State.OPENING, Change.ENTERED): State.OPEN,
    (State.OPENING, Change.FAILED): State.PENDING,
    (State.OPENING, Change.CAME_LATE): State.CLOSED,
    (State.OPENING, Change.TAKEN_OUT_OF_USE): "it was to be closed, while its opening is under way",
    (State.OPENING, Change.CLOSED): "it has closed, while its opening is under way",
    (State.OPENING, Change.FORKED): State.CLOSED,
    (State.OPEN, Change.CLAIMED): "it was claimed, and is open",
    (State.OPEN, Change.ENTERED): "it was entered a second time",
    (State.OPEN, Change.FAILED): "its opening failed, and it is open",
    (State.OPEN, Change.CAME_LATE): "it came late, and it is open",
    (State.OPEN, Change.TAKEN_OUT_OF_USE): State.CLOSING,
    (State.OPEN, Change.CLOSED): "it has closed, and was never taken out of use",
    (State.OPEN, Change.FORKED): State.CLOSED,
    (State.CLOSING, Change.CLAIMED): "it was claimed, while it closes",
    (State.CLOSING, Change.ENTERED): "it was entered, while it closes",
    (State.CLOSING, Change.FAILED): "its opening failed, while it closes",
    (State.CLOSING, Change.CAME_LATE): "it came late, while it closes",
    (State.CLOSING, Change.TAKEN_OUT_OF_USE): "it was taken out of use a second time",
    (State.CLOSING, Change.CLOSED): State.CLOSED,
    (State.CLOSING, Change.FORKED): State.CLOSED,
    (State.CLOSED, Change.CLAIMED): "it was claimed, and has closed",
    (State.CLOSED, Change.ENTERED): "it was entered, and has closed",
    (State.CLOSED, Change.FAILED): "its opening failed, and it has closed",
    (State.CLOSED, Change.CAME_LATE): "it came late a second time",
    (State.CLOSED, Change.TAKEN_OUT_OF_USE): "it was to be closed, and has closed",
    (State.CLOSED, Change.CLOSED): "it has closed a second time",
    (State.CLOSED, Change.FORKED): State.CLOSED,
}


def after(state: State, change: Change, resource: str) -> State:
    """The state of a resource, told by its path, after a change.

    Raises:
        LifespanError: there is no such change: a defect of this library, which names it.
    """
    result = _AFTER[state, change]
    if isinstance(result, str):
        raise LifespanError(f"{resource}: {result}. This is a defect of prefect_lifespan: please report it")
    return result
