"""The schedule of one opener: which of some resources is entered when, stopped when, tried again when, and what failed.

It is asked `next` for what to do, and told what has come of it. It knows no thread, no event loop and no clock. Whoever
carries its commands out may be interrupted between any two lines by a signal's handler that raises: that is told by
`interrupted`, after which nothing more is entered and what is under way is brought to its end, each within its limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Generic, Literal, TypeVar

from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.engine.schedule.commands import Done, Enter, Failed, Leave, OpeningCommand, Remedy, Stop, Wait
from prefect_lifespan.engine.schedule.limits import Attempts, Deadlines, Openable
from prefect_lifespan.errors import LifespanError, ResourceTimeoutError

R = TypeVar("R", bound=Openable)


class _Phase(Enum):
    """How far this opener is with one resource."""

    NEEDS = auto()  # something that it needs is not open
    TURN = auto()  # it can be entered
    ELSEWHERE = auto()  # another opener has the claim
    ENTERING = auto()
    STOPPING = auto()  # it was told to stop
    EXITING = auto()  # it was entered too late, and is exited again
    PAUSE = auto()  # until the next attempt
    ENDED = auto()  # it is open, or has failed


_UNDER_WAY = (_Phase.ENTERING, _Phase.STOPPING, _Phase.EXITING)


class _Due(Enum):
    """What is to be looked at, at a time."""

    LIMIT = auto()  # of the attempt
    GRACE = auto()  # after that, for one that was told to stop
    AGAIN = auto()  # the next attempt
    STOP_AGAIN = auto()  # nobody wants it any more, and it is still at it
    LEAVE = auto()  # the same, and it has been told twice


class _Course(Generic[R]):
    """One resource on its way to being open."""

    __slots__ = ("attempts", "for_its_limit", "in_turn", "needs_left", "phase", "remedy", "resource")

    def __init__(self, resource: R, *, in_turn: bool) -> None:
        self.resource = resource
        self.in_turn = in_turn
        self.needs_left = 0
        self.phase = _Phase.NEEDS
        self.remedy = Remedy.NONE
        self.for_its_limit = False
        self.attempts = Attempts(resource)


class OpeningSchedule(Generic[R]):
    """Of some resources that are not open, dependencies first. Linear in resources and edges over its whole life."""

    def __init__(
        self,
        resources: Iterable[R],
        needs: Callable[[R], Iterable[R]],
        *,
        side_by_side: Callable[[R], bool],
        at_once: int,
        others_take_turns: bool,
        given_up: type[BaseException],
    ) -> None:
        """What is `side_by_side` is entered as soon as what it needs is open; of the rest, up to `at_once` at a time.

        `others_take_turns` says whether one that another opener is at counts among those. What nobody waits for any more
        fails with a `given_up`, which is also what one raises that was told to stop.
        """
        self.failure: BaseException | None = None
        self._at_once = at_once
        self._others_take_turns = others_take_turns
        self._given_up = given_up
        self._courses = {resource: _Course(resource, in_turn=not side_by_side(resource)) for resource in resources}
        self._users: dict[R, list[_Course[R]]] = {}
        self._free: deque[_Course[R]] = deque()
        self._turns: deque[_Course[R]] = deque()
        self._taken: set[R] = set()  # turns
        self._active: dict[R, _Course[R]] = {}  # that something comes of by itself, or at a time
        self._to_stop: deque[_Course[R]] = deque()
        self._deadlines: Deadlines[tuple[_Course[R], int, _Due]] = Deadlines()
        self._left = len(self._courses)
        for course in self._courses.values():
            for needed in needs(course.resource):
                if needed in self._courses:
                    course.needs_left += 1
                    self._users.setdefault(needed, []).append(course)
        for course in self._courses.values():
            if not course.needs_left:
                self._let_go(course)

    def next(self, now: float) -> OpeningCommand[R]:
        """What to do now. Each command is given once.

        Raises:
            LifespanError: nothing is left to do, and not everything is open: a defect of this library.
        """
        if self.failure is None:
            course = self._next_to_enter()
            if course is not None:
                return self._enter(course, now)
            if not self._left:
                return Done()
        while self._to_stop:
            course = self._to_stop.popleft()
            if course.phase in (_Phase.ENTERING, _Phase.STOPPING):
                return self._stop(course)
        while (due := self._deadlines.due(now)) is not None:
            command = self._look_at(*due, now)
            if command is not None:
                return command
        waited_for = self._active if self.failure is None else self.under_way
        if waited_for:
            return Wait(self._deadlines.seconds_left(now))
        if self.failure is None:
            names = ", ".join(course.resource.path for course in self._courses.values() if course.needs_left)
            raise LifespanError(f"{names} can never open. This is a defect of prefect_lifespan: please report it")
        return Done()

    @property
    def under_way(self) -> list[R]:
        """What is being entered, or exited again, by this opener."""
        return [resource for resource, course in self._active.items() if course.phase in _UNDER_WAY]

    def __contains__(self, resource: R) -> bool:
        """Whether this opener is at it."""
        course = self._courses.get(resource)
        return course is not None and course.phase in _UNDER_WAY

    # What has come of it

    def begun(self, resource: R, remedy: Remedy, now: float) -> None:
        """It is being entered, and something will be told of it later."""
        course = self._courses[resource]
        course.remedy = remedy
        limit = course.attempts.limit
        if limit is not None and remedy is not Remedy.NONE:
            self._deadlines.add(now + limit, (course, course.attempts.number, _Due.LIMIT))
        if self.failure is not None:
            self._want_no_more(course, now)

    def moved(self, resource: R, remedy: Remedy, now: float) -> None:
        """What was being entered turned out to need another place, and is being entered there, from the beginning."""
        self._courses[resource].attempts.begin(now)
        self._taken.discard(resource)
        self.begun(resource, remedy, now)

    def entered(self, resource: R, now: float) -> ResourceTimeoutError | None:
        """It has been entered. What is returned, if anything, it is to be exited with, and to be told as `failed`.

        That is where its limit had run out: it was told so and opened all the same, or could not be told.
        """
        course = self._courses[resource]
        late = course.for_its_limit
        if course.remedy is Remedy.NONE:
            left = course.attempts.seconds_left(now)
            late = left is not None and left < 0
        if not late:
            return None
        course.phase = _Phase.EXITING
        return course.attempts.timeout(now)

    def exiting(self, resource: R, now: float) -> None:
        """It is being exited again, as it was entered too late: nothing stops that, up to its limit."""
        course = self._courses[resource]
        course.phase = _Phase.EXITING
        self._active[resource] = course
        limit = resource.policy.close_timeout_seconds
        if limit is not None:
            self._deadlines.add(now + limit + limits.GRACE_SECONDS, (course, course.attempts.number, _Due.LEAVE))

    def opened(self, resource: R) -> None:
        """It is open, whoever opened it: what needs it may be entered."""
        course = self._courses[resource]
        if course.phase is not _Phase.ENDED:
            self._end(course)
            self._left -= 1
            for user in self._users.get(resource, ()):
                user.needs_left -= 1
                if not user.needs_left:
                    self._let_go(user)

    def failed(
        self, resource: R, error: BaseException, now: float, *, again: bool = True, stopped: bool = False
    ) -> Failed:
        """An attempt has failed; another one may follow, unless not `again`.

        `stopped` says that it has ended by being told to stop, which counts as a timeout where that was its limit's.
        """
        course = self._courses[resource]
        if stopped and course.for_its_limit:
            stopped, error = False, _from(course.attempts.timeout(now), error)
        stops = stopped or self.failure is not None
        delay = None if stops or not again else course.attempts.delay_after(error)
        if delay is None:
            self._end(course)
            if self.failure is None or not isinstance(error, self._given_up):  # else it has done as it was told
                self._fail(error, now)
            return Failed("open-failed", error)
        course.phase = _Phase.PAUSE
        self._active[resource] = course
        self._deadlines.add(now + delay, (course, course.attempts.number, _Due.AGAIN))
        return Failed("open-retried", error)

    def elsewhere(self, resource: R) -> None:
        """Another opener is at it, and has the claim."""
        course = self._courses[resource]
        course.phase = _Phase.ELSEWHERE
        self._active[resource] = course
        if not self._others_take_turns:
            self._taken.discard(resource)

    def freed(self, resource: R) -> None:
        """That one gave its claim up, and nothing has come of it."""
        course = self._courses[resource]
        if course.phase is _Phase.ELSEWHERE:
            self._active.pop(resource, None)
            self._taken.discard(resource)
            self._let_go(course, first=True)

    def refused(self, resource: R, error: BaseException, now: float) -> None:
        """It is not to be had: another opener has failed, it has closed, or it does not open here. No attempt follows."""
        self._end(self._courses[resource])
        self._fail(error, now)

    def interrupted(self, error: BaseException, now: float) -> None:
        """The opener has been cancelled, a signal has arrived, or its work has failed otherwise."""
        self._fail(error, now)

    # Decisions

    def _next_to_enter(self) -> _Course[R] | None:
        if self._free:
            return self._free.popleft()
        if self._turns and len(self._taken) < self._at_once:
            course = self._turns.popleft()
            self._taken.add(course.resource)
            return course
        return None

    def _let_go(self, course: _Course[R], *, first: bool = False) -> None:
        course.phase = _Phase.TURN
        queue = self._turns if course.in_turn else self._free
        queue.appendleft(course) if first else queue.append(course)

    def _enter(self, course: _Course[R], now: float) -> Enter[R]:
        course.attempts.begin(now)
        course.phase = _Phase.ENTERING
        course.for_its_limit = False
        self._active[course.resource] = course
        return Enter(course.resource)

    def _end(self, course: _Course[R]) -> None:
        course.phase = _Phase.ENDED
        self._active.pop(course.resource, None)
        self._taken.discard(course.resource)

    def _fail(self, error: BaseException, now: float) -> None:
        """Nothing more is entered. The first failure counts, unless a signal or a cancellation arrives after it."""
        first = self.failure
        if first is None:
            self.failure = error
            for course in self._active.values():
                if course.phase in (_Phase.ENTERING, _Phase.STOPPING):
                    self._want_no_more(course, now)
        elif isinstance(first, Exception) and not isinstance(error, Exception):
            # It is whose task this is that asks, and whoever tries again after a failure must not swallow it.
            self.failure = _from(error, first)

    def _want_no_more(self, course: _Course[R], now: float) -> None:
        """Let an opening that is under way come to its end: one that opens all the same closes in its turn."""
        limit, number = course.resource.policy.close_timeout_seconds, course.attempts.number
        if course.remedy is Remedy.STOP:
            self._to_stop.append(course)
            if limit is not None:
                self._deadlines.add(now + limit, (course, number, _Due.STOP_AGAIN))
                self._deadlines.add(now + limit + limits.GRACE_SECONDS, (course, number, _Due.LEAVE))
        elif course.remedy is Remedy.LEAVE and limit is not None and course.attempts.limit is None:
            # What it opens needs what would close meanwhile: it is waited for, as long as it may take to open or to close.
            self._deadlines.add(now + limit, (course, number, _Due.LEAVE))

    def _stop(self, course: _Course[R], *, for_its_limit: bool = False) -> Stop[R]:
        course.phase = _Phase.STOPPING
        course.for_its_limit = course.for_its_limit or for_its_limit
        return Stop(course.resource, for_its_limit)

    def _look_at(self, course: _Course[R], number: int, due: _Due, now: float) -> OpeningCommand[R] | None:
        """What is to be done at a time that has come; nothing where the attempt that it was for has ended."""
        if number != course.attempts.number or course.phase is _Phase.ENDED:
            return None
        if due is _Due.AGAIN:
            return self._enter(course, now) if course.phase is _Phase.PAUSE and self.failure is None else None
        if due is _Due.LEAVE:
            return self._leave_unwanted(course)
        if course.phase not in (_Phase.ENTERING, _Phase.STOPPING):
            return None
        if due is _Due.STOP_AGAIN:
            return self._stop(course)
        left = course.attempts.seconds_left(now, 0.0 if due is _Due.LIMIT else limits.GRACE_SECONDS)
        if left is not None and left > 0:  # its stop-watch has stood still meanwhile
            self._deadlines.add(now + max(left, limits.TICK_SECONDS), (course, number, due))
            return None
        late = course.attempts.timeout(now)
        if course.remedy is Remedy.LEAVE:
            return Leave(course.resource, late, late, again=True)
        if due is _Due.GRACE:
            return Leave(course.resource, late, late, again=False)
        self._deadlines.add(now + limits.GRACE_SECONDS, (course, number, _Due.GRACE))
        return self._stop(course, for_its_limit=True) if course.phase is _Phase.ENTERING else None

    def _leave_unwanted(self, course: _Course[R]) -> Leave[R]:
        resource = course.resource
        if course.remedy is Remedy.LEAVE and course.phase is not _Phase.EXITING:
            return Leave(resource, self._given_up(), self.failure or self._given_up(), again=False)
        action: Literal["open", "close"] = "close" if course.phase is _Phase.EXITING else "open"
        late = ResourceTimeoutError(resource.path, action, resource.policy.close_timeout_seconds or 0.0)
        return Leave(resource, late, late, again=False)


def _from(error: BaseException, cause: BaseException) -> BaseException:
    """What `raise error from cause` raises."""
    if error is not cause:
        error.__cause__, error.__suppress_context__ = cause, True
    return error
