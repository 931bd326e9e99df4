"""One closing: what closes next, how long it may take, and what is waited for before it.

Resources close in the reverse of the order in which they finished opening: blocking ones one after another, each after
everything that was opened later, asynchronous ones side by side, each as soon as all that need it have closed. An opening
that is still under way when the lifespan ends counts as one that needs what it needs, until it has ended.

Whoever drives it asks for the `next` thing to do, does that, and says what has come of it. It is made of the states of the
resources: where a signal has interrupted the driver, another one goes on where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeAlias, TypeVar

from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule.opening import Wait
from prefect_lifespan.engine.schedule.standing import Standing
from prefect_lifespan.engine.schedule.states import State

S = TypeVar("S", bound=Standing)


@dataclass(slots=True)
class Close(Generic[S]):
    """Let it be exited; that is waited for."""

    resource: S


@dataclass(slots=True)
class CancelExit(Generic[S]):
    """Its limit is over: let it come to its end, where that can be done."""

    resource: S


@dataclass(slots=True)
class LeaveOpen(Generic[S]):
    """It does not close in its time, nor in a grace after that: an error."""

    resource: S


@dataclass(slots=True)
class GiveUp(Generic[S]):
    """Closing it comes to nothing, by a defect of this library: an error."""

    resource: S


@dataclass(slots=True)
class AwaitLate(Generic[S]):
    """Wait for an opening that is under way, and say when it has ended."""

    resource: S


@dataclass(slots=True)
class LeaveLate(Generic[S]):
    """Wait for it no longer; an error of closing."""

    resource: S


Command: TypeAlias = Close[S] | CancelExit[S] | LeaveOpen[S] | GiveUp[S] | AwaitLate[S] | LeaveLate[S] | Wait


class _Exit:
    """The exit of one resource that is under way by itself."""

    __slots__ = ("cancellable", "cancelled", "ends_at")

    def __init__(self, ends_at: float, *, cancellable: bool) -> None:
        self.ends_at = ends_at
        self.cancellable = cancellable
        self.cancelled = False


class Closing(Generic[S]):
    """What one closing closes: `opened`, in the order of opening, while `late` are still being opened."""

    def __init__(
        self,
        opened: Iterable[S],
        needs: Callable[[S], Iterable[S]],
        *,
        late: Iterable[S] = (),
        side_by_side: Callable[[S], bool] | None = None,
    ) -> None:
        self._needs = needs
        left = (resource for resource in reversed(list(opened)) if resource.state is not State.CLOSED)
        self._order = deque(dict.fromkeys(left))  # last opened first
        self._side_by_side: set[S] = set() if side_by_side is None else set(filter(side_by_side, self._order))
        self._users = dict.fromkeys(self._order, 0)
        self._late: dict[S, float | None] = dict.fromkeys(late)
        self._late_users: dict[S, int] = {}
        # Where everything closes in its turn, nobody has to be counted.
        self._counts = bool(self._late or self._side_by_side)
        for user in (*self._users, *self._late) if self._counts else ():
            for needed in needs(user):
                if needed in self._users:
                    self._users[needed] += 1
                    if user in self._late:
                        self._late_users[needed] = self._late_users.get(needed, 0) + 1
        self._due: deque[Command[S]] = deque(AwaitLate(resource) for resource in self._late)
        self._free = deque(
            r for r in self._side_by_side and self._order if not self._users[r] and r in self._side_by_side
        )
        self._exits: dict[S, _Exit | None] = {}
        self._tries: dict[S, int] = {}
        self._closed: set[S] = set()
        self._look_at = inf

    def next(self, now: float) -> Command[S] | None:
        """What is to be done next; None when it is over."""
        if now >= self._look_at:
            self._look(now)
        if self._due:
            return self._due.popleft()
        if self._free:
            return self._close(self._free.popleft())
        while self._order and self._order[0] in self._closed:
            self._order.popleft()
        if self._order and self._is_next(self._order[0]):
            return self._close(self._order[0])
        if not self._exits and not self._late:
            if not self._order:
                return None
            # Nothing is under way that something could wait for: a circle. It closes all the same.
            return self._close(self._order[0])
        return Wait(None if self._look_at == inf else self._look_at)

    # What the driver says has happened

    def begun(self, resource: S, now: float, limit: float | None, *, cancellable: bool) -> None:
        """It is being exited by itself, and may take that many seconds from now on."""
        self._exits[resource] = exit_ = None if limit is None else _Exit(now + limit, cancellable=cancellable)
        if exit_ is not None:
            self._look_at = min(self._look_at, exit_.ends_at)

    def was_cancelled(self, resource: S) -> bool:
        """Whether it has been cancelled at its limit."""
        exit_ = self._exits.get(resource)
        return exit_ is not None and exit_.cancelled

    def closed(self, resource: S) -> None:
        """It has been exited, well or badly, or is left open."""
        self._exits.pop(resource, None)
        if resource not in self._closed:
            self._closed.add(resource)
            if self._counts:
                self._release(resource)

    def interrupted(self, resource: S) -> None:
        """A signal came before its exit was called: that is tried again."""
        self._exits.pop(resource, None)
        self._tries[resource] = self._tries.get(resource, 0) + 1
        self._due.append(Close(resource) if self._tries[resource] < limits.ATTEMPTS else GiveUp(resource))

    def late_begun(self, resource: S, now: float) -> None:
        """A late opening is waited for from now on, no longer than closing it may take."""
        limit = resource.policy.close_timeout_seconds
        if limit is not None and resource in self._late:
            self._late[resource] = now + limit
            self._look_at = min(self._look_at, now + limit)

    def late_ended(self, resource: S) -> None:
        """A late opening has come to its end: what it needed may close."""
        if resource in self._late:
            del self._late[resource]
            for needed in self._needs(resource):
                if needed in self._late_users:
                    self._late_users[needed] -= 1
            self._release(resource)

    # Within

    def _is_next(self, resource: S) -> bool:
        """Whether one whose turn it is may close: all that was opened later has closed, and nothing late needs it."""
        started = resource in self._side_by_side or resource in self._exits
        return not started and not self._late_users.get(resource)

    def _close(self, resource: S) -> Command[S]:
        self._exits[resource] = None
        return Close(resource)

    def _release(self, user: S) -> None:
        for needed in self._needs(user):
            if needed in self._users:
                self._users[needed] -= 1
                if not self._users[needed] and needed in self._side_by_side and needed not in self._closed:
                    self._free.append(needed)

    def _look(self, now: float) -> None:
        self._look_at = inf
        for resource, exit_ in list(self._exits.items()):
            if exit_ is None:
                continue
            if now >= exit_.ends_at:
                if exit_.cancellable and not exit_.cancelled:
                    exit_.cancelled, exit_.ends_at = True, now + limits.GRACE_SECONDS
                    self._due.append(CancelExit(resource))
                else:
                    self._exits[resource] = None
                    self._due.append(LeaveOpen(resource))
                    continue
            self._look_at = min(self._look_at, exit_.ends_at)
        for resource, ends_at in list(self._late.items()):
            if ends_at is not None and now >= ends_at:
                self._due.append(LeaveLate(resource))
                self._late[resource] = None
            elif ends_at is not None:
                self._look_at = min(self._look_at, ends_at)
