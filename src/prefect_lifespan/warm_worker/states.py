"""The life of a warm process as the worker sees it: each state, and which may follow it."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a warm process is doing."""

    STARTING = "starting"  # its interpreter starts; the first run waits for it
    RUNNING = "running"  # it has a flow run, from the pulling of its code on
    IDLE = "idle"  # it waits for the next run, with what lives as long as a process open
    CLOSING = "closing"  # it gets no more runs: it ends the one that it has, closes what is open, and ends
    GONE = "gone"  # it has ended


_AFTER = {
    State.STARTING: {State.RUNNING, State.CLOSING, State.GONE},
    State.RUNNING: {State.IDLE, State.CLOSING, State.GONE},
    State.IDLE: {State.RUNNING, State.CLOSING, State.GONE},
    State.CLOSING: {State.GONE},
    State.GONE: set[State](),
}


class IllegalTransition(Exception):
    """A warm process was to become what it cannot become any more: a fault of this library."""

    def __init__(self, before: State, after: State) -> None:
        super().__init__(before, after)

    def __str__(self) -> str:
        before, after = self.args
        return f"a warm process that is {before.value} cannot become {after.value}"


def checked(before: State, after: State) -> State:
    """The state `after`, where it may follow `before`.

    Raises:
        IllegalTransition: it may not.
    """
    if after not in _AFTER[before]:
        raise IllegalTransition(before, after)
    return after
