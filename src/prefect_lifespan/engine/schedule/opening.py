"""One call that opens resources: which is begun when, which attempt follows, what is given up, and what comes of it all.

Whoever drives it asks for the `next` thing to do, does that, and says what has come of it, always with the time. When
nothing is left, `failure` is what the caller is to see. A failure, as well as an interruption of the driver, winds the
opening down: nothing more begins, what can be cancelled is, and everything is waited for, bounded.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeAlias, TypeVar

from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule.claim import Claim, Phase
from prefect_lifespan.engine.schedule.standing import Abandoned, Standing
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.errors import ResourceTimeoutError

S = TypeVar("S", bound=Standing)

# Commands are not frozen, as one is made for each resource: those take three times as long to make.


@dataclass(slots=True)
class Open(Generic[S]):
    """Begin an attempt: `claim.attempt`."""

    resource: S
    claim: Claim


@dataclass(slots=True)
class Await(Generic[S]):
    """Wait for whoever is opening it, and say how that has ended."""

    resource: S


@dataclass(slots=True)
class Cancel(Generic[S]):
    """Let the attempt come to its end, where it can be; that is waited for. One that has not begun is `refused`."""

    resource: S


@dataclass(slots=True)
class LeaveBehind(Generic[S]):
    """Wait no longer for the attempt: it has been told so, and closes what it enters by itself."""

    resource: S


@dataclass(slots=True)
class Wait:
    """Nothing is to be done before something ends, or until that time."""

    until: float | None


Command: TypeAlias = Open[S] | Await[S] | Cancel[S] | LeaveBehind[S] | Wait


class Opening(Generic[S]):
    """What one call opens; it holds the claims.

    Resources come with dependencies first. Without `needs` they open one after another as they come; else each as soon
    as what it needs of them is open, those that `side_by_side` names without a bound, others up to `at_most` at a time.
    """

    def __init__(
        self,
        resources: Iterable[S],
        needs: Callable[[S], Iterable[S]] | None = None,
        *,
        at_most: int = 1,
        side_by_side: Callable[[S], bool] | None = None,
        thread: int | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._in_order = needs is None
        self._at_most = at_most
        self._thread = thread
        self._all = [resource for resource in resources if resource.state is not State.OPEN]
        self._side_by_side: set[S] = set() if side_by_side is None else set(filter(side_by_side, self._all))
        self._number = {resource: number for number, resource in enumerate(self._all)}
        self._needed: dict[S, int] = {}  # how many of those that it needs are not open yet, where any are
        self._users: dict[S, list[S]] = {}
        if needs is not None:
            for user in self._all:
                for needed in needs(user):
                    if needed in self._number:
                        self._needed[user] = self._needed.get(user, 0) + 1
                        self._users.setdefault(needed, []).append(user)
        # Heaps of numbers: as they were given, whenever several could be next.
        free = [resource for resource in self._all if resource not in self._needed]
        self._ready_side_by_side = [self._number[resource] for resource in free if resource in self._side_by_side]
        self._ready = [self._number[resource] for resource in free if resource not in self._side_by_side]
        self._mine: dict[S, Claim] = {}
        self._limited: set[S] = set()  # those of them that are not side by side
        self._elsewhere: set[S] = set()
        self._due: deque[Command[S]] = deque()
        self._look_at = inf  # nothing has to be looked at before

    @property
    def unfinished(self) -> list[S]:
        """What it has begun and not heard the end of, to whoever was interrupted in it."""
        return [resource for resource in self._all if resource in self._mine or resource.is_claimed_by(self)]

    def next(self, now: float) -> Command[S] | None:
        """What is to be done next; None when it is over.

        Raises:
            LifespanClosedError: what is to open has closed.
        """
        if now >= self._look_at:
            self._look(now)
        if self._due:
            return self._due.popleft()
        while self.failure is None and (resource := self._take()) is not None:
            if (command := self._begin(resource, now)) is not None:
                return command
        if self._mine or (self._elsewhere and self.failure is None):
            return Wait(None if self._look_at == inf else self._look_at)
        return None

    # What the driver says has happened

    def begun(self, resource: S, now: float, *, cancellable: bool) -> None:
        """The attempt is under way by itself, and can be `cancelled` or not: its limit is looked at from now on."""
        attempt = self._mine[resource].attempt
        attempt.watched, attempt.cancellable = True, cancellable
        if cancellable:
            self._limited.discard(resource)  # as one that turns out to be asynchronous
        if attempt.limit is not None:
            self._look_again(now + attempt.limit)

    def succeeded(self, resource: S) -> None:
        """It is open."""
        self._let_go(resource)
        if resource in self._users:
            self._is_open(resource)

    def failed(self, resource: S, error: BaseException, now: float, *, is_final: bool = False) -> None:
        """The attempt has raised; whether another one follows, the policy says, unless that `is_final`.

        Where it has opened or closed all the same, the error came after that, and is what the caller sees.
        """
        claim = self._mine.get(resource)
        if claim is None:
            return  # it was left behind, and whoever waited knows
        claim.attempt.phase = Phase.OVER
        if resource.is_claimed_by(self):
            if self.failure is not None or is_final:
                claim.give_up(error, now)
            elif (pause := claim.pause_after(error, now)) is not None:
                # It begins when all have been told of the failure, which may take a while.
                claim.attempt.phase, claim.attempt.pause_seconds = Phase.PAUSING, pause
                self._look_again(now)
                return
            resource.fail(claim, error)
        self._let_go(resource)
        self.wind_down(error, now)

    def refused(self, resource: S, error: BaseException) -> None:
        """Nobody is at it: it cannot be opened here, or whoever began was interrupted before that."""
        if resource.claim is not None and resource.is_claimed_by(self):
            resource.fail(resource.claim, error)
        self._let_go(resource)

    def ended_elsewhere(self, resource: S, error: BaseException | None, now: float) -> None:
        """Whoever was opening it has come to an end; with `Abandoned`, or with nothing, it is asked for anew."""
        if resource not in self._elsewhere:
            return
        self._elsewhere.discard(resource)
        if resource.state is State.OPEN:
            self._is_open(resource)
        elif error is None or isinstance(error, Abandoned):
            self._is_ready(resource)
        else:
            self.wind_down(error, now)

    def wind_down(self, error: BaseException, now: float) -> None:
        """Something has failed, or the driver was interrupted: open nothing more, and end what is under way.

        Doing it again does what is left to do.
        """
        if self.failure is None:
            self.failure = error
        # What is to be cancelled or left behind still is.
        self._due = deque(command for command in self._due if not isinstance(command, Open))
        for resource, claim in list(self._mine.items()):
            attempt = claim.attempt
            if attempt.phase is Phase.PAUSING or not attempt.watched:  # nobody is at it
                self.refused(resource, error)
            elif attempt.phase in (Phase.TRYING, Phase.CANCELLED):
                limit = resource.policy.close_timeout_seconds
                ends_at = [] if limit is None else [now + limit]
                if attempt.cancellable:
                    ends_at += [end + limits.GRACE_SECONDS for end in ends_at]
                # Nothing interrupts a thread. Unless its time is up it is waited for, no longer than closing may take:
                # what it opens needs what would close meanwhile, and closes in its turn.
                elif (left := attempt.left(now)) is not None:
                    ends_at = [min([now + left, *ends_at])]
                attempt.ends_at = ends_at
                if ends_at:
                    self._look_again(ends_at[0])
                self._due.append(Cancel(resource))
                attempt.phase = Phase.ENDING

    # Within

    def _take(self) -> S | None:
        if self._ready_side_by_side:
            return self._all[heapq.heappop(self._ready_side_by_side)]
        taken = len(self._limited) + (len(self._elsewhere) if self._in_order else 0)
        return self._all[heapq.heappop(self._ready)] if self._ready and taken < self._at_most else None

    def _begin(self, resource: S, now: float) -> Command[S] | None:
        claim = resource.ask(self, now, thread=self._thread)
        if claim is not None:
            self._mine[resource] = claim
            if resource not in self._side_by_side:
                self._limited.add(resource)
            return Open(resource, claim)
        if resource.state is State.OPEN:
            self._is_open(resource)
            return None
        self._elsewhere.add(resource)
        return Await(resource)

    def _is_ready(self, resource: S) -> None:
        ready = self._ready_side_by_side if resource in self._side_by_side else self._ready
        heapq.heappush(ready, self._number[resource])

    def _is_open(self, resource: S) -> None:
        for user in self._users.get(resource, ()):
            self._needed[user] -= 1
            if not self._needed[user]:
                self._is_ready(user)

    def _let_go(self, resource: S) -> None:
        self._mine.pop(resource, None)
        self._limited.discard(resource)

    def _look_again(self, at: float) -> None:
        self._look_at = min(self._look_at, at)

    def _look(self, now: float) -> None:
        """Look at what has a limit, and is not at its end."""
        self._look_at = inf
        for resource, claim in list(self._mine.items()):
            attempt = claim.attempt
            match attempt.phase:
                case Phase.PAUSING:
                    if not attempt.ends_at:
                        attempt.ends_at = [now + attempt.pause_seconds]
                    if now >= attempt.ends_at[0]:
                        claim.begin_again(now)
                        self._due.append(Open(resource, claim))
                    else:
                        self._look_again(attempt.ends_at[0])
                case Phase.TRYING | Phase.CANCELLED:
                    self._look_at_limit(resource, claim, now)
                case Phase.ENDING:
                    self._look_at_end(resource, claim, now)
                case _:
                    pass

    def _look_at_limit(self, resource: S, claim: Claim, now: float) -> None:
        attempt = claim.attempt
        left = attempt.left(now)
        if left is None or not attempt.watched:
            return
        if attempt.phase is Phase.CANCELLED:
            left += limits.GRACE_SECONDS
        if left > 0:
            self._look_again(now + max(left, limits.TICK_SECONDS))
        elif attempt.phase is Phase.TRYING and attempt.cancellable:
            attempt.phase = Phase.CANCELLED
            self._due.append(Cancel(resource))
            self._look_again(now + limits.GRACE_SECONDS)
        elif resource.leave_behind(attempt, late := attempt.timeout()):
            # What ignores its cancellation would do so again; a thread of its own may do better the next time.
            self.failed(resource, late, now, is_final=attempt.cancellable)
            self._due.append(LeaveBehind(resource))

    def _look_at_end(self, resource: S, claim: Claim, now: float) -> None:
        attempt = claim.attempt
        if not attempt.ends_at:
            return
        if now < attempt.ends_at[0]:
            self._look_again(attempt.ends_at[0])
            return
        attempt.ends_at = attempt.ends_at[1:]
        if attempt.ends_at:
            self._due.append(Cancel(resource))
            self._look_again(attempt.ends_at[0])
            return
        late = ResourceTimeoutError(resource.path, "open", resource.policy.close_timeout_seconds or 0.0)
        if resource.leave_behind(attempt, attempt.timeout() if attempt.limit is not None else late):
            self._due.append(LeaveBehind(resource))
            claim.give_up(late, now)
            resource.fail(claim, late)
            self._let_go(resource)
