"""What the schedule's tests share: resources without a thread or a loop, and a world in which attempts end as a test says."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from prefect_lifespan.engine.schedule import closing as close
from prefect_lifespan.engine.schedule import opening as open_
from prefect_lifespan.engine.schedule.claim import Attempt
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.standing import Schedule, Standing, Verdict
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.errors import LifespanClosedError
from prefect_lifespan.lifetimes import Policy

MOST_STEPS = 2000  # far beyond what any of these takes: more is no progress


class Resource(Standing):
    """A resource that opens as it is told to."""

    def __init__(
        self, name: str, schedule: Schedule, *needs: Resource, asynchronous: bool = False, **policy: Any
    ) -> None:
        super().__init__(name, schedule)
        self.needs = needs
        self.asynchronous = asynchronous
        self.policy = Policy(**policy)
        self.events: list[tuple[str, float]] = []
        self.woken: list[Exception | None] = []
        self.in_use = False
        self.exits = 0

    def __repr__(self) -> str:
        return f"{self.path} {self.state.name}"

    def own_policy(self) -> Policy:
        return Policy()

    def closed_error(self) -> LifespanClosedError:
        return LifespanClosedError(self.path, "the run")

    def new_waiter(self) -> Any:
        return object()

    def wake(self, waiter: Any, error: Exception | None) -> None:
        self.woken.append(error)

    def may_be_tried_again(self, error: Exception) -> bool:
        return not self.schedule.ended

    def take_into_use(self) -> None:
        self.in_use = True

    def withdraw(self) -> None:
        self.in_use = False

    def forget_value(self) -> None:
        """There is none."""

    def let_go(self) -> None:
        """It is in no place."""

    def event(
        self, kind: Any, seconds: float, error: BaseException | None = None, outcome: BaseException | None = None
    ) -> None:
        self.events.append((kind, seconds))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]


def needs_of(resource: Resource) -> Iterable[Resource]:
    return resource.needs


def opening_of(resources: Iterable[Resource], *, at_most: int = 1) -> open_.Opening[Resource]:
    return open_.Opening(resources, needs_of, at_most=at_most, side_by_side=lambda each: each.asynchronous)


def closing_of(resources: Iterable[Resource], late: Iterable[Resource] = ()) -> close.Closing[Resource]:
    return close.Closing(resources, needs_of, late=late, side_by_side=lambda each: each.asynchronous)


class World:
    """Where attempts and exits are under way, until the dice say how they end."""

    def __init__(self, dice: random.Random, ways: list[str]) -> None:
        self.dice = dice
        self.ways = ways
        self.now = 0.0
        self.trying: dict[Resource, tuple[Attempt, bool]] = {}  # whether it has been cancelled
        self.left: list[tuple[Resource, Attempt]] = []  # nobody waits for these
        self.entered: list[Resource] = []
        self.exited: list[Resource] = []
        self.told: dict[Resource, list[Verdict]] = {}
        self.interruptions = 5  # how often a signal comes before an exit was called

    def open_all(self, opening: open_.Opening[Resource], *, interrupted_after: int = MOST_STEPS) -> None:
        """Drive one opening to its end; a driver is interrupted after so many steps."""
        for step in range(MOST_STEPS):
            if step == interrupted_after:
                opening.wind_down(KeyboardInterrupt(), self.now)
            command = opening.next(self.now)
            match command:
                case None:
                    return
                case open_.Open(resource, claim):
                    assert all(needed.state is State.OPEN for needed in resource.needs), "what it needs is open"
                    assert resource not in self.trying, "nobody else is at it"
                    self.trying[resource] = claim.attempt, False
                    opening.begun(resource, self.now, cancellable=resource.asynchronous)
                case open_.Cancel(resource):
                    self.trying[resource] = self.trying[resource][0], True
                case open_.LeaveBehind(resource):
                    self.left.append((resource, self.trying.pop(resource)[0]))
                case open_.Wait(until):
                    self.wait(opening, until)
                case _:
                    raise AssertionError(command)
        raise AssertionError("no progress")

    def wait(self, opening: open_.Opening[Resource], until: float | None) -> None:
        """Time passes, or one attempt comes to its end."""
        ready = [resource for resource in self.trying if self.way(resource) != "hangs" or self.trying[resource][1]]
        if ready and (until is None or self.dice.random() < 0.8):
            self.end(opening, self.dice.choice(ready))
        else:
            assert until is not None, f"nothing ends: {self.trying}"
            self.now = until

    def way(self, resource: Resource) -> str:
        return self.ways[sum(map(ord, resource.path)) % len(self.ways)]

    def end(self, opening: open_.Opening[Resource], resource: Resource) -> None:
        attempt, cancelled = self.trying.pop(resource)
        self.now += 0.01
        way = self.way(resource)
        if way == "fails" or (cancelled and way == "hangs"):
            error = KeyboardInterrupt() if cancelled and self.dice.random() < 0.3 else OSError(resource.path)
            opening.failed(resource, error, self.now)
        elif self.enter(resource, attempt) is Verdict.STAYS:
            opening.succeeded(resource)
        else:
            opening.failed(resource, self.late_error(resource, attempt), self.now)

    def late_error(self, resource: Resource, attempt: Attempt) -> Exception:
        if self.told[resource][-1] is Verdict.CAME_LATE:
            resource.came_late()
            return resource.closed_error()
        return attempt.timeout()

    def enter(self, resource: Resource, attempt: Attempt) -> Verdict:
        """It has been entered: it stays, or is exited at once."""
        verdict = resource.opened(attempt, self.now)
        self.told.setdefault(resource, []).append(verdict)
        self.entered.append(resource)
        if verdict is not Verdict.STAYS:
            self.exited.append(resource)
        return verdict

    def let_what_was_left_behind_enter(self) -> None:
        """It closes itself, whatever has become of the resource since."""
        for resource, attempt in self.left:
            if self.dice.random() < 0.5:
                assert self.enter(resource, attempt) is Verdict.LEFT_BEHIND
        self.left.clear()

    def close_all(
        self, schedule: Schedule, report: CloseReport, *, hanging: bool, interrupted_after: int = MOST_STEPS
    ) -> None:
        """Drive closing to its end; where the driver is interrupted, another one goes on where it was."""
        schedule.end(report)
        order = list(schedule.opened)
        exiting: dict[Resource, bool] = {}
        closing = closing_of(order)
        for step in range(MOST_STEPS):
            if step == interrupted_after:
                report.interrupted(KeyboardInterrupt())
                closing = closing_of(order)
            command = closing.next(self.now)
            match command:
                case None:
                    return
                case close.Close(resource):
                    self.close(closing, resource, order, report, exiting)
                case close.CancelExit(resource):
                    exiting[resource] = True
                case close.LeaveOpen(resource):
                    exiting.pop(resource)
                    self.is_closed(closing, resource, report, TimeoutError(resource.path))
                case close.Wait(until):
                    ready = [r for r in exiting if exiting[r] or not (hanging and self.way(r) == "hangs")]
                    if ready and (until is None or self.dice.random() < 0.8):
                        resource = self.dice.choice(ready)
                        exiting.pop(resource)
                        error = OSError(resource.path) if self.way(resource) == "fails" else None
                        self.is_closed(closing, resource, report, error)
                    else:
                        assert until is not None, f"nothing ends: {exiting}"
                        self.now = until
                case _:
                    raise AssertionError(command)
        raise AssertionError("no progress")

    def close(
        self,
        closing: close.Closing[Resource],
        resource: Resource,
        order: list[Resource],
        report: CloseReport,
        exiting: dict[Resource, bool],
    ) -> None:
        open_users = [user for user in order if resource in user.needs and user.state is not State.CLOSED]
        assert not open_users, "what needs it has closed"
        if not resource.asynchronous:
            later = order[order.index(resource) + 1 :]
            assert all(other.state is State.CLOSED for other in later), "and all that was opened later"
        assert resource.begin_close(report)
        assert not resource.in_use
        if self.interruptions and self.dice.random() < 0.3:
            self.interruptions -= 1
            closing.interrupted(resource)  # before its exit was called
            return
        if resource not in exiting:
            resource.exits += 1
        exiting.setdefault(resource, False)
        closing.begun(resource, self.now, resource.policy.close_timeout_seconds, cancellable=resource.asynchronous)

    def is_closed(
        self, closing: close.Closing[Resource], resource: Resource, report: CloseReport, error: Exception | None
    ) -> None:
        report.note(resource, error)
        resource.closed()
        self.exited.append(resource)
        closing.closed(resource)
