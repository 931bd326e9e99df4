"""What the resources of one lifespan share, and where each of them stands: who may change that, and what it means.

Exactly one caller holds the claim to an opening; everybody else waits for its end. Nothing here knows a thread, an event
loop or a clock: whoever calls brings the time, and who waits is an opaque `waiter` that is woken in the end.

Each change may be interrupted before any of its lines, by a signal's handler that raises. So a change ends with the
one line that makes it count, what stands before that may be done again, and who waits is told last.
"""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto
from operator import attrgetter
from typing import Any, TypeVar, TypeVarTuple

from prefect_lifespan.engine.events import Kind
from prefect_lifespan.engine.schedule.claim import Attempt, Claim
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import Change, State, after
from prefect_lifespan.errors import LifespanClosedError
from prefect_lifespan.lifetimes import Policy

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


_OPENED_AT = attrgetter("opened_at")


class Abandoned(Exception):
    """An opening ended without a result of its own (interrupted, cancelled): whoever waits may claim it anew."""


class Verdict(Enum):
    """What is to become of a resource that has been entered, and why."""

    STAYS = auto()
    CAME_LATE = auto()  # the lifespan has ended: it closes at once, with the outcome of that
    TOOK_TOO_LONG = auto()  # past its limit: it closes at once, and has failed
    LEFT_BEHIND = auto()  # whoever asked for it has been told an error meanwhile: it closes at once, with that


class Schedule:
    """What all resources of one lifespan share: the order in which they opened, and whether it has ended."""

    def __init__(self, container: str, above: Schedule | None = None) -> None:
        self.container = container
        self._above = above  # of the lifespan that this one stands on, whose end is its end too
        self._ended = False
        self._ending: CloseReport | None = None
        self.opened: list[Any] = []
        self.opening: set[Any] = set()

    def alone(self, change: Callable[[*Ts], T], *args: *Ts) -> T:
        """What a change returns, made while nobody else makes one; whoever has threads has a lock for it."""
        return change(*args)

    def end(self, ending: CloseReport | None = None) -> None:
        """Refuse openings from now on; what is under way closes by itself, and `ending` hears of it."""
        self.alone(self._end, ending)

    def _end(self, ending: CloseReport | None) -> None:
        self._ending = ending
        self._ended = True

    @property
    def ending(self) -> CloseReport | None:
        """What comes of closing, where that has begun: here, or for the lifespan that this one stands on."""
        return self._ending if self._ending is not None or self._above is None else self._above.ending

    @property
    def ended(self) -> bool:
        """Whether nothing is opened any more."""
        return self._ended or (self._above is not None and self._above.ended)


class Standing(ABC):
    """Where one resource stands."""

    state: State = State.PENDING
    claim: Claim | None = None  # of the opening that is under way, or was the last
    opened_at: float = 0.0
    failure: BaseException | None = None  # of the last opening
    failed_with: BaseException | None = None  # while it was open
    _policy: Policy | None = None
    _waiter: Any = None
    _closer: object = None
    _to_wake: dict[Any, Exception | None] | None = None  # whoever has waited, and not been told yet

    def __init__(self, path: str, schedule: Schedule) -> None:
        self.path = path  # its name, as messages give it
        self.schedule = schedule

    # What whoever lets it be carried out adds

    @property
    def policy(self) -> Policy:
        """How it is opened and closed."""
        if self._policy is None:
            self._policy = self.own_policy()
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy

    @abstractmethod
    def own_policy(self) -> Policy:
        """How it is opened and closed, as long as nobody has said anything else."""

    @abstractmethod
    def closed_error(self) -> LifespanClosedError:
        """The error for a use that comes too late."""

    @abstractmethod
    def new_waiter(self) -> Any:
        """What a caller waits with."""

    @abstractmethod
    def wake(self, waiter: Any, error: Exception | None) -> None:
        """Tell those who wait with it that the opening has ended, how, and nothing where they know."""

    @abstractmethod
    def event(
        self, kind: Kind, seconds: float, error: BaseException | None = None, outcome: BaseException | None = None
    ) -> None:
        """Tell of an opening or closing."""

    def refuse_to_wait(self) -> None:  # noqa: B027 - most callers may wait
        """Raise where the caller must not wait for the opening that is under way."""

    @abstractmethod
    def may_be_tried_again(self, error: Exception) -> bool:
        """Whether another attempt to open it may come to another end."""

    @abstractmethod
    def take_into_use(self) -> None:
        """It is open: its value may be had."""

    @abstractmethod
    def withdraw(self) -> None:
        """It is about to be no longer open: its value is not given out any more."""

    @abstractmethod
    def forget_value(self) -> None:
        """It is not open any more: nothing here keeps its value alive."""

    @abstractmethod
    def let_go(self) -> None:
        """Nothing of the last opening is needed any more."""

    # Opening

    def ask(self, holder: object, now: float, *, thread: int | None = None) -> Claim | None:
        """The claim to open it; None where it is open, or somebody else is opening it.

        Raises:
            LifespanClosedError: it has closed.
            LifespanError: its own initialiser asks for it.
        """
        return self.schedule.alone(self._ask, holder, now, thread)

    def _ask(self, holder: object, now: float, thread: int | None) -> Claim | None:
        if self.state is State.OPEN:
            return None
        if self.state is State.OPENING:
            self.refuse_to_wait()
            return None
        if self.schedule.ended or self.state is not State.PENDING:
            raise self.closed_error()
        self.schedule.opening.add(self)
        self.claim = Claim(self, holder, thread, now)
        self.state = after(Change.CLAIMED, self.state, self.path)
        return self.claim

    def waiter(self) -> Any:
        """What is woken when the opening that is under way ends; None when there is none, or no longer."""
        return self.schedule.alone(self._make_waiter)

    def _make_waiter(self) -> Any:
        if self.state is not State.OPENING:
            return None
        # Made when somebody waits, which most openings are spared.
        if self._waiter is None:
            self._waiter = self.new_waiter()
        return self._waiter

    def is_claimed_by(self, holder: object) -> bool:
        """Whether `holder` has the claim to an opening that has not ended."""
        return self.state is State.OPENING and self.claim is not None and self.claim.holder is holder

    def opened(self, attempt: Attempt, at: float) -> Verdict:
        """The attempt has entered it, at `at`: whether it stays so. If not, whoever has entered it exits it at once."""
        verdict = self.schedule.alone(self._opened, attempt, at)
        if self._to_wake:
            self.tell()
        return verdict

    def _opened(self, attempt: Attempt, at: float) -> Verdict:
        if attempt.given_up is not None:
            return Verdict.LEFT_BEHIND
        if self.state is State.OPEN:
            return Verdict.STAYS
        if self.schedule.ended:
            return Verdict.CAME_LATE
        if attempt.limit is not None and attempt.is_too_late(at):
            return Verdict.TOOK_TOO_LONG
        state = after(Change.OPENED, self.state, self.path)
        self.failure = None
        self.opened_at = at
        # By when it was entered, not by when that was told: others may have overtaken it in between.
        others = self.schedule.opened
        if others and others[-1].opened_at > at:
            bisect.insort(others, self, key=_OPENED_AT)
        else:
            others.append(self)
        self._end_opening(None)
        self.take_into_use()
        self.state = state
        return Verdict.STAYS

    def leave_behind(self, attempt: Attempt, error: BaseException) -> bool:
        """Nobody waits for an attempt any more, who are told `error`; False when it has come to its end meanwhile."""
        return self.schedule.alone(self._leave_behind, attempt, error)

    def _leave_behind(self, attempt: Attempt, error: BaseException) -> bool:
        if self.state is State.OPENING and attempt.given_up is None:
            attempt.given_up = error
        return attempt.given_up is not None

    def came_late(self) -> None:
        """It was entered after the lifespan had ended, and has been closed again: whoever waits may go on."""
        self.schedule.alone(self._come_late)
        self.tell()

    def _come_late(self) -> None:
        if self.state is not State.CLOSED:
            state = after(Change.CAME_LATE, self.state, self.path)
            self._end_opening(self.closed_error())
            self.let_go()
            self.state = state

    def fail(self, claim: Claim, error: BaseException) -> None:
        """The holder of a claim could not open it; the next one to ask may try again. Doing it again does nothing."""
        self.schedule.alone(self._fail, claim, error)
        self.tell()

    def _fail(self, claim: Claim, error: BaseException) -> None:
        if self.claim is claim and self.state is not State.PENDING:
            state = after(Change.FAILED, self.state, self.path)
            claim.attempt.given_up = claim.attempt.given_up or error
            self.failure = error
            self._end_opening(error if isinstance(error, Exception) else Abandoned())
            self.let_go()
            self.state = state

    def _end_opening(self, error: Exception | None) -> None:
        if self._waiter is not None:
            if self._to_wake is None:
                self._to_wake = {}
            self._to_wake[self._waiter] = error
        self._waiter = None
        self.schedule.opening.discard(self)

    def tell(self) -> None:
        """Tell whoever waited; an interruption leaves it to the next one to tell the rest."""
        if self._to_wake:
            for waiter, error in list(self._to_wake.items()):
                self.wake(waiter, error)
                self._to_wake.pop(waiter, None)

    # Closing

    def begin_close(self, closer: object) -> bool:
        """Take it out of use. False when it has been closed, or another closer is at it: each closes exactly once.

        True as well for one that ended by itself, and for a closing of the same closer that was interrupted.
        """
        return self.schedule.alone(self._begin_close, closer)

    def _begin_close(self, closer: object) -> bool:
        free = self.state is State.CLOSING and (self._closer is None or self._closer is closer)
        if self.state is not State.OPEN and not free:
            return False
        state = after(Change.CLOSING, self.state, self.path)
        self._closer = closer
        self.withdraw()
        self.state = state
        self.forget_value()
        return True

    def ended(self) -> None:
        """It ends by itself, without a closer: one that comes finds out how that went."""
        self.schedule.alone(self._end)

    def _end(self) -> None:
        if self.state is State.OPEN:
            self.withdraw()
            self.state = after(Change.CLOSING, self.state, self.path)
            self.forget_value()

    def closed(self) -> None:
        """It has closed, well or badly."""
        self.state = after(Change.CLOSED, self.state, self.path)
        self.failed_with = None
        self.let_go()
