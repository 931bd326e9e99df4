"""What takes how long: an opening's own time, its attempts, and what is due when. None of it looks at a clock."""

from __future__ import annotations

import heapq
import itertools
from typing import Generic, Protocol, TypeVar

from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.masking import told

T = TypeVar("T")

# Beyond its limit, for an opening or a closing that was told to stop to come to its end; then it is left behind.
GRACE_SECONDS = 1.0
# Between two looks at a stop-watch that stands still shortly before its limit.
TICK_SECONDS = 0.01
# A step that a signal has interrupted goes on where it was. None is interrupted as often: a defect is to end in an error.
INTERRUPTIONS = 20


class OwnTime:
    """A stop-watch of one opening: it stands still while it is paused, by however many. It is told the time.

    Whoever pauses it runs in the thread that it measures, so that nobody else does so at the same time.
    """

    __slots__ = ("_away", "_paused_at", "_pauses", "_started")

    def __init__(self) -> None:
        self._pauses = 0
        self._paused_at: float | None = None
        self._away = self._started = 0.0

    def start(self, now: float) -> None:
        """Begin anew, and go."""
        self._pauses, self._paused_at, self._away, self._started = 0, None, 0.0, now

    def seconds(self, now: float) -> float:
        """How long it has gone since it was started."""
        paused_at = self._paused_at
        return (now if paused_at is None else paused_at) - self._started - self._away

    def pause(self, now: float) -> None:
        """Stand still until it has been resumed as often as paused."""
        self._pauses += 1
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Go on, unless somebody else still waits."""
        if not self._pauses:
            return  # it was started meanwhile
        self._pauses -= 1
        if not self._pauses and self._paused_at is not None:
            self._away += now - self._paused_at
            self._paused_at = None


class Openable(Protocol):
    """What a schedule has to know of a resource."""

    @property
    def path(self) -> str:
        """Its name with its container's, as messages give it."""
        ...

    @property
    def policy(self) -> Policy:
        """How it is opened and closed."""
        ...

    @property
    def own_time(self) -> OwnTime:
        """The stop-watch of its opening."""
        ...


class Attempts:
    """Counts them, and knows what is left of the time of the one that is under way."""

    __slots__ = ("_policy", "_resource", "_retry", "_time", "limit", "number")

    def __init__(self, resource: Openable) -> None:
        self._resource = resource
        self._policy = resource.policy
        self._time = resource.own_time
        self._retry = 0
        self.limit = self._policy.open_timeout_seconds
        self.number = 0  # of the one that is under way

    def begin(self, now: float) -> None:
        """One begins."""
        self.number += 1
        self._time.start(now)

    def seconds_left(self, now: float, grace: float = 0.0) -> float | None:
        """What is left of its limit, and of a grace after that; None where it has none."""
        return None if self.limit is None else self.limit + grace - self._time.seconds(now)

    def timeout(self, now: float) -> ResourceTimeoutError:
        """The error of one that took too long."""
        return ResourceTimeoutError(self._resource.path, "open", self.limit or self._time.seconds(now))

    def delay_after(self, error: BaseException) -> float | None:
        """Seconds to wait before the next one; None when there is none, and `error` is final."""
        if self._retry >= (self._policy.retries or 0) or not isinstance(error, Exception):
            return None
        asked = "retry_on"
        try:
            if not self._policy.retries_after(error):
                return None
            asked = "retry_delay_seconds"
            delay = self._policy.delay_before(self._retry)
        except Exception as broken:
            # The user's own function: its error must not hide the one that it was asked about.
            add_note(error, f"it was not tried again: its {asked} raised {told(broken)}")
            return None
        self._retry += 1
        return delay


class Deadlines(Generic[T]):
    """Times, each with what is to be looked at then. What has come to nothing meanwhile is for the one who looks."""

    __slots__ = ("_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = itertools.count()

    def add(self, at: float, what: T) -> None:
        """Let `what` be due at that time."""
        heapq.heappush(self._heap, (at, next(self._numbers), what))

    def due(self, now: float) -> T | None:
        """One that is due, and no longer kept; None where nothing is."""
        if self._heap and self._heap[0][0] <= now:
            return heapq.heappop(self._heap)[2]
        return None

    def first_due(self, now: float) -> T | None:
        """One that is due, and is still kept; None where nothing is."""
        return self._heap[0][2] if self._heap and self._heap[0][0] <= now else None

    def seconds_left(self, now: float) -> float | None:
        """Until the next one is due; None where there is none."""
        return self._heap[0][0] - now if self._heap else None
