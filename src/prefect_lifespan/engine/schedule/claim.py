"""The claim to open a resource, and the attempts that are made under it: how long each may take, and whether another follows."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

from prefect_lifespan.engine.events import Kind
from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.engine.schedule.clock import Clock
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.masking import summary_of


class Claimed(Protocol):
    """What a claim asks of the resource that it is on."""

    path: str

    @property
    def policy(self) -> Policy:
        """How it is opened."""
        ...

    def may_be_tried_again(self, error: Exception) -> bool:
        """Whether another attempt may come to another end."""
        ...

    def event(self, kind: Kind, seconds: float, error: BaseException | None = None) -> None:
        """Tell of it."""
        ...


class Phase(Enum):
    """How an attempt stands."""

    TRYING = auto()  # somebody is at it
    PAUSING = auto()  # it has failed, and the next one follows after a pause
    CANCELLED = auto()  # its limit is over: it has been cancelled, and has a grace to come to its end
    ENDING = auto()  # whoever asked for it does not want it any more: it is waited for, bounded
    LEFT = auto()  # nobody waits for it any more: what it enters, it closes itself
    OVER = auto()


class Attempt(Clock):
    """One attempt to enter a resource, and the clock of the time that it takes."""

    __slots__ = ("cancellable", "ends_at", "given_up", "limit", "pause_seconds", "phase", "resource", "watched")

    def __init__(self, resource: str, limit: float | None, now: float) -> None:
        self.resource: str = resource
        self.limit: float | None = limit
        self.start(now)
        self.phase: Phase = Phase.TRYING
        self.watched: bool = (
            False  # whether somebody looks at the limit while it is under way: not in the calling thread
        )
        self.cancellable: bool = False  # whether it can be made to end: an asyncio task can, a thread cannot
        self.pause_seconds: float = 0.0  # before the next one
        # When the pause ends; when it is cancelled again, and when it is left behind.
        self.ends_at: Sequence[float] = ()
        self.given_up: BaseException | None = None  # what whoever waited for it was told, when that came to an end

    def left(self, now: float) -> float | None:
        """What is left of its limit; None where it has none."""
        return None if self.limit is None else self.limit - self.seconds(now)

    def is_too_late(self, now: float) -> bool:
        """Whether what it has entered by now came after its limit.

        An initialiser in the calling thread cannot be interrupted, so there the clock is looked at when it is done.
        Elsewhere it counts what whoever watches has done: an event loop that was held up is not the initialiser's fault.
        """
        if self.phase is Phase.CANCELLED:
            return True
        return self.limit is not None and not self.watched and self.limit < self.seconds(now)

    def timeout(self) -> ResourceTimeoutError:
        """The error of an attempt that took too long."""
        return ResourceTimeoutError(self.resource, "open", self.limit or 0.0)


class Claim:
    """The right to open a resource, which one caller at a time has; everybody else waits for the end of it.

    `thread` is the thread that stays at it until it has ended, if one does: found elsewhere, it has been interrupted.
    """

    __slots__ = ("attempt", "holder", "resource", "retried", "retries_left", "thread")

    def __init__(self, resource: Claimed, holder: object, thread: int | None, now: float) -> None:
        self.resource: Claimed = resource
        self.holder: object = holder
        self.thread: int | None = thread
        policy = resource.policy
        self.retries_left: int = policy.retries or 0
        self.retried: int = 0
        self.attempt: Attempt = Attempt(resource.path, policy.open_timeout_seconds, now)

    def begin_again(self, now: float) -> None:
        """The next attempt begins."""
        self.attempt = Attempt(self.resource.path, self.attempt.limit, now)

    def pause_after(self, error: BaseException, now: float) -> float | None:
        """Seconds to wait before the next attempt; None where there is none, and `error` is final. It is told either way."""
        resource = self.resource
        if isinstance(error, Exception) and self._is_worth_another(error):
            try:
                pause = resource.policy.delay_before(self.retried)
            except Exception as broken:
                add_note(error, f"it was not tried again: its retry_delay_seconds raised {summary_of(broken)}")
            else:
                self.retries_left -= 1
                self.retried += 1
                resource.event("open-retried", self.attempt.seconds(now), error)
                return pause
        self.give_up(error, now)
        return None

    def give_up(self, error: BaseException, now: float) -> None:
        """None of the attempts came to anything, and none follows."""
        self.resource.event("open-failed", self.attempt.seconds(now), error)

    def _is_worth_another(self, error: Exception) -> bool:
        if not self.retries_left or not self.resource.may_be_tried_again(error):
            return False
        try:
            return self.resource.policy.retries_after(error)
        except Exception as broken:
            add_note(error, f"it was not tried again: its retry_on raised {summary_of(broken)}")
            return False
