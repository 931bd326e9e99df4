"""What all resources of one engine share: where they are at home, in which order they opened, whether that has ended."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from prefect_lifespan.engine.events import Event, Listener, library_logger, observers
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.threads import Threads
from prefect_lifespan.forks import left_to_the_parent
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.steps import under

if TYPE_CHECKING:
    import asyncio

lifespan_numbers = itertools.count(1)


class Opened(Protocol):
    """A resource, as it is kept here."""

    entered_at: float

    @property
    def openings(self) -> Openings:
        """Which it belongs to."""
        ...

    @property
    def is_left_by_this_thread(self) -> bool:
        """Whether an exception has taken this thread out of its opening."""
        ...

    def begin_anew(self) -> object:
        """In a forked child; gives what is left to the parent."""
        ...


class Openings:
    """The openings of one engine: those that are under way, and those that came to something, in their order."""

    def __init__(
        self,
        container: str,
        name: str,
        *,
        defaults: Policy,
        max_workers: int,
        listeners: tuple[Listener, ...],
        loop: asyncio.AbstractEventLoop | None,
        above: Openings | None = None,
    ) -> None:
        self.container = container
        self.name = name
        # Counts lifespans; what stands on one, as a task's view does, has the number of that.
        self.number = next(lifespan_numbers) if above is None else above.number
        self._above = above  # of the lifespan that this one stands on, whose end is its end too
        self.defaults = defaults
        self.max_workers = max_workers
        self.lock = threading.Lock()
        # None: whoever opens, it is in a thread of the resource's own, because the opener's may be gone when it closes.
        self.home_thread: int | None = threading.get_ident()
        self.loop = loop
        self.owner: asyncio.Task[Any] | None = None  # on `loop`: what it does ends with closing
        self.threads = Threads(f"lifespan-{container}", max_workers)
        self._ended = False
        self._ending: CloseReport | None = None
        self.opened: list[Any] = []
        self.opening: set[Any] = set()
        self._listeners = listeners

    @property
    def at_home(self) -> bool:
        """Whether the caller runs in the thread that the lifespan was opened in."""
        return threading.get_ident() == self.home_thread

    @property
    def is_being_cancelled(self) -> bool:
        """Whether the task that the lifespan was opened in is being cancelled, so that closing is near."""
        return self.owner is not None and not self.owner.done() and self.owner.cancelling() > 0

    @property
    def has_owner(self) -> bool:
        """Whether the task that the lifespan was opened in has not ended, so that it may still close it."""
        return self.owner is not None and not self.owner.done()

    def keep(self, resource: Opened) -> None:
        """It is open: by when it was entered, not by when the one who waited for it came to tell."""
        bisect.insort(self.opened, resource, key=attrgetter("entered_at"))

    def end(self, ending: CloseReport | None = None) -> None:
        """Refuse openings from now on; what is under way closes by itself, and `ending` hears of it."""
        under(self.lock, self._end, ending)

    def _end(self, ending: CloseReport | None) -> None:
        self._ended, self._ending = True, ending

    def interrupted_here(self) -> list[Any]:
        """Openings that this thread has claimed and is no longer at: an exception has taken it out of them."""
        return [resource for resource in list(self.opening) if resource.is_left_by_this_thread]

    @property
    def ending(self) -> CloseReport | None:
        """What comes of closing, where that has begun: here, or for the lifespan that this one stands on."""
        return self._ending if self._ending is not None or self._above is None else self._above.ending

    @property
    def ended(self) -> bool:
        """Whether nothing is opened any more."""
        return self._ended or (self._above is not None and self._above.ended)

    @property
    def ended_with(self) -> str:
        """The name of what has ended: its own, or of the lifespan that it stands on."""
        return self.name if self._ended or self._above is None else self._above.ended_with

    def begin_anew(self, resources: Iterable[Opened]) -> None:
        """In a forked child: what is open belongs to the parent, and is neither used, closed nor finalised here."""
        self.name += ", which stays in the process that this one was forked from,"
        self.lock, self.threads = threading.Lock(), Threads(f"lifespan-{self.container}", self.max_workers)
        self.opened, self.opening, self._ended = [], set(), True
        left_to_the_parent([resource.begin_anew() for resource in resources if resource.openings is self])

    def emit(self, event: Event) -> None:
        """Tell every listener; one that raises is dropped with a log line, and never harms the resource."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                library_logger.exception("A listener raised and is dropped")
                self._listeners = tuple(other for other in self._listeners if other is not listener)
        observers.tell(event)
