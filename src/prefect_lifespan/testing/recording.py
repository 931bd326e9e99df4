"""`recording`: what opened and closed meanwhile, in whatever thread or lifespan of this process, to assert on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import Happening, watchers
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.signal_safe import under
from prefect_lifespan.testing.belonging import is_told_of

_ENDS = ("closed", "close-failed")


@dataclass(frozen=True)
class RecordedEvent(Event):
    """An event of this process with the exceptions themselves, of which others have names and texts.

    Args:
        raised: what opening or closing has raised.
        outcome: the exception of the body that a closing told the resource; None where that succeeded.
    """

    raised: BaseException | None = None
    outcome: BaseException | None = None


class recording:  # noqa: N801 - a context manager, named as the field names it
    """Record the openings and closings of this process for as long as it is entered; it stays readable afterwards.

    It sees every lifespan, task, call and thread, and what lives as long as the process. Worker processes are others:
    what happens there is not seen. Failures and retries are events as well; `str(record)` tells all of it.

    Args:
        container: record this container's resources only, also in lifespans of containers that derive from it.

    Raises:
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import lifespan
        >>> from prefect_lifespan.testing import recording
        >>> class App(containers.DeclarativeContainer):
        ...     url = providers.Resource(lambda: "sqlite://")
        ...     db = providers.Resource("connection to {}".format, url)
        >>> with recording(App) as record, lifespan(App):
        ...     assert record.still_open == ["url", "db"]
        >>> record.opened, record.closed
        (['url', 'db'], ['db', 'url'])
    """

    def __init__(self, container: ContainerClass | None = None) -> None:
        self._container = None if container is None else require_container(container)
        self._happenings: list[Happening] = []
        self._entered = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        under(self._lock, self._enter)
        return self

    def _enter(self) -> None:
        self._entered += 1
        if self._entered == 1:
            watchers.append(self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        under(self._lock, self._exit)

    def _exit(self) -> None:
        self._entered -= 1
        if not self._entered:
            watchers.remove(self._watch)

    def _watch(self, happening: Happening) -> None:
        if self._container is None or is_told_of(self._container, happening):
            under(self._lock, self._happenings.append, happening)

    @property
    def events(self) -> list[RecordedEvent]:
        """Everything so far: container, path, kind, seconds, error, and the outcome that a closing told."""
        return [_recorded(happening) for happening in under(self._lock, self._happenings.copy)]

    @property
    def opened(self) -> list[str]:
        """The paths of what opened, in that order; twice where it opened twice."""
        return [event.path for event in self.events if event.kind == "opened"]

    @property
    def closed(self) -> list[str]:
        """The paths of what closed, well or badly, in that order."""
        return [event.path for event in self.events if event.kind in _ENDS]

    @property
    def still_open(self) -> list[str]:
        """The paths of what opened and has not closed."""
        return [event.path for event in still_open(self.events)]

    def of(self, path: str) -> list[RecordedEvent]:
        """The events of one resource."""
        return [event for event in self.events if event.path == path]

    def assert_opened(self, *paths: str) -> None:
        """Fail unless just these have opened, in this order.

        Raises:
            AssertionError: with everything that was recorded.
        """
        self._assert(self.opened == list(paths), f"opened {_told(self.opened)}, not {_told(paths)}")

    def assert_closed(self, *paths: str) -> None:
        """Fail unless just these have closed, in this order.

        Raises:
            AssertionError: with everything that was recorded.
        """
        self._assert(self.closed == list(paths), f"closed {_told(self.closed)}, not {_told(paths)}")

    def assert_all_closed(self) -> None:
        """Fail unless everything that opened has closed, once and without an error.

        Raises:
            AssertionError: with everything that was recorded.
        """
        problems = list(problems_in(self.events))
        problems += [f"{event.path} failed to close" for event in self.events if event.kind == "close-failed"]
        self._assert(not problems, "; ".join(problems))

    def _assert(self, holds: bool, problem: str) -> None:
        if not holds:
            raise AssertionError(f"{problem}\n{self}")

    def __str__(self) -> str:
        lines = [line_of(event) for event in self.events]
        return "\n".join(["recorded:", *(f"  {line}" for line in lines or ["nothing"])])

    __repr__ = __str__


def still_open(events: Sequence[Event]) -> list[Event]:
    """The openings that no closing has followed; two threads may tell of the two in the other order."""
    ended = {event.opening for event in events if event.kind in _ENDS}
    return [event for event in events if event.kind == "opened" and event.opening not in ended]


def problems_in(events: Sequence[Event]) -> Iterator[str]:
    """What was not closed, or not exactly once."""
    for event in still_open(events):
        yield f"{event.path} opened and did not close"
    ends = Counter(event.opening for event in events if event.kind in _ENDS)
    for event in events:
        if event.kind == "opened" and ends[event.opening] > 1:
            yield f"{event.path} closed {ends[event.opening]} times"


def line_of(event: Event) -> str:
    """One event in a line, with the outcome that a closing told."""
    outcome = f" ({event.outcome_type})" if event.outcome_type else ""
    return f"{event.message}{outcome}"


def _recorded(happening: Happening) -> RecordedEvent:
    told = {each.name: getattr(happening.event, each.name) for each in fields(Event)}
    return RecordedEvent(**told, raised=happening.error, outcome=happening.outcome)


def _told(paths: Iterable[str]) -> str:
    return ", ".join(paths) or "nothing"
