"""The schedule of one closing: what is exited when, and what is waited for no longer.

What can close side by side does so as soon as nothing open needs it any more. Everything else closes one after another,
each after everything that was opened later. An opening that is under way when closing begins counts as a user of what it
needs until it has ended. It is asked `next` for what to do and told what has come of it; a command is given again until
that has been told, so that nothing is lost where whoever carries it out is interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from prefect_lifespan.engine.schedule.commands import ClosingCommand, Done, Exit, GiveUp, GiveUpOpening, Wait
from prefect_lifespan.engine.schedule.limits import Deadlines, Openable

R = TypeVar("R", bound=Openable)


class ClosingSchedule(Generic[R]):
    """Of what is open, in the order in which it was opened. Linear in resources and edges over its whole life."""

    def __init__(
        self,
        opened: Iterable[R],
        needs: Callable[[R], Iterable[R]],
        *,
        side_by_side: Callable[[R], bool],
        opening: Iterable[R] = (),
        now: float,
    ) -> None:
        """`opening` is what is under way as closing begins."""
        self._needs = needs
        self._side_by_side = side_by_side
        self._order = deque(reversed(list(opened)))  # last opened first
        self._users = dict.fromkeys(self._order, 0)
        self._opening = dict.fromkeys(opening)
        for user in (*self._order, *self._opening):
            for needed in needs(user):
                if needed in self._users:
                    self._users[needed] += 1
        self._free = {each: None for each in self._order if not self._users[each] and side_by_side(each)}
        self._exiting: set[R] = set()
        self._begun = dict.fromkeys(self._order, 0)  # how often
        self._closed: set[R] = set()
        self._deadlines: Deadlines[tuple[R, int]] = Deadlines()
        for late in self._opening:
            limit = late.policy.close_timeout_seconds
            if limit is not None:
                self._deadlines.add(now + limit, (late, 0))

    def next(self, now: float) -> ClosingCommand[R]:
        """What to do now."""
        for resource in self._free:
            return Exit(resource)
        while self._order and self._order[0] in self._closed:
            self._order.popleft()
        if self._order:
            last = self._order[0]
            if last not in self._exiting and not self._users[last]:
                return Exit(last)
        while (due := self._deadlines.first_due(now)) is not None:
            resource, times = due
            if resource in self._opening:
                return GiveUpOpening(resource)
            if resource in self._exiting and times == self._begun[resource]:
                return GiveUp(resource)
            self._deadlines.due(now)  # it has come to its end before, or has begun again
        if self._exiting or self._opening:
            return Wait(self._deadlines.seconds_left(now))
        # What is left is used by what was opened before it: by a defect, and it is closed all the same.
        return Exit(self._order[0]) if self._order else Done()

    def __contains__(self, resource: R) -> bool:
        """Whether it is being exited."""
        return resource in self._exiting

    @property
    def first(self) -> R | None:
        """What is to close first, of those that have not; None where everything has."""
        return next((resource for resource in self._order if resource not in self._closed), None)

    @property
    def exiting(self) -> list[R]:
        """What is being exited."""
        return list(self._exiting)

    @property
    def opening(self) -> list[R]:
        """What is waited for, as its opening is under way."""
        return list(self._opening)

    def begun(self, resource: R, limit: float | None, now: float) -> None:
        """Its exit has begun, and may take that many seconds: something will be told of it later."""
        self._free.pop(resource, None)
        self._exiting.add(resource)
        self._begun[resource] += 1
        if limit is not None:
            self._deadlines.add(now + limit, (resource, self._begun[resource]))

    def not_begun(self, resource: R) -> None:
        """It was interrupted before its exit was called: that is to be called again."""
        self._exiting.discard(resource)
        if self._side_by_side(resource):
            self._free[resource] = None

    def closed(self, resource: R) -> None:
        """It has closed, well or badly, or was given up: what it needed may close."""
        if resource in self._closed:
            return
        self._closed.add(resource)
        self._exiting.discard(resource)
        self._free.pop(resource, None)
        self._let_go(resource)

    def opening_ended(self, resource: R) -> None:
        """Its opening has ended, in whatever way, or is waited for no longer."""
        if resource in self._opening:
            del self._opening[resource]
            self._let_go(resource)

    def _let_go(self, user: R) -> None:
        for needed in self._needs(user):
            if needed in self._users:
                self._users[needed] -= 1
                if not self._users[needed] and needed not in self._closed and self._side_by_side(needed):
                    self._free[needed] = None
