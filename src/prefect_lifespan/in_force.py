"""One open lifespan, as the scopes that it is in force in hold it."""

from __future__ import annotations

import copy
import itertools
import secrets
import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Protocol

from prefect_lifespan.engine import library_logger
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.forks import children
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_flight import Calls
from prefect_lifespan.overrides import EnteredOverride, stacked
from prefect_lifespan.signal_safe import under

if TYPE_CHECKING:
    from prefect_lifespan.engine import CloseReport, Engine
    from prefect_lifespan.engine.initialiser import Outcome


class Reached(Protocol):
    """Other processes that a lifespan has reached: they hold resources of it, and close them with it."""

    def ends_with(self, runner: object) -> bool:
        """Whether they end with a task runner, and have to be told before: nothing of theirs runs at their end."""
        ...

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close there, and wait for it; tasks that still run there have `grace` seconds to end, None for no limit."""
        ...


class Pending(Protocol):
    """What a lifespan waits for before it closes; whoever submits a task tells it."""

    calls: Calls


class _Ids:
    """Numbers of openings, each like no other of any process."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: it is another process."""
        self._process = secrets.token_hex(16)
        self._numbers = itertools.count(1)

    def new(self) -> str:
        """The next one."""
        return f"{self._process}-{next(self._numbers)}"


_ids = _Ids()
children.begin_with(_ids)


class InForce:
    """An open lifespan as a scope holds it: its engine, and the overrides that it was opened with.

    `id` tells this opening from all others, in any process; `engine_here` gives what opens and closes in this one.
    """

    def __init__(
        self,
        engine_here: Callable[[], Engine],
        overrides: tuple[EnteredOverride, ...],
        pending: Pending | None = None,
        *,
        opening: str = "",
        logger: Logger = library_logger,
    ) -> None:
        self.id: str = opening or _ids.new()
        self._engine_here = engine_here
        self.overrides = overrides
        self.logger = logger
        self.pending = pending
        self.reached: dict[Hashable, Reached] = {}
        self._missed_by: set[str] = set()
        self._views: dict[tuple[EnteredOverride, ...], Engine] = {}
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """Opens and closes its resources in this process."""
        return self._engine_here()

    @property
    def container(self) -> ContainerClass:
        """The container class that it opens."""
        return self.engine.container_class

    @property
    def has_ended(self) -> bool:
        """Whether its closing has begun."""
        return self.engine.schedule.ended

    def let_nobody_in(self) -> None:
        """Let calls be late that begin from now on, but for those that are made in one that has begun before."""
        if self.pending is not None:
            self.engine.schedule.left_after = self.pending.calls
            self.pending.calls.let_nobody_in()

    def reach(self, key: Hashable, make: Callable[[], Reached]) -> Reached:
        """The other processes that it has reached under `key`, from now on told of its end."""
        return under(self._lock, self._reach, key, make)

    def _reach(self, key: Hashable, make: Callable[[], Reached]) -> Reached:
        if key not in self.reached:
            self.reached[key] = make()
        return self.reached[key]

    def elsewhere(self) -> list[Reached]:
        """The other processes that it has reached so far, last reached first."""
        return list(reversed(dict(self.reached).values()))

    def ending_with(self, runner: object) -> list[Reached]:
        """The other processes that end with a task runner, from now on no longer this lifespan's to tell."""
        return under(self._lock, self._ending_with, runner)

    def _ending_with(self, runner: object) -> list[Reached]:
        ending = {key: reached for key, reached in self.reached.items() if reached.ends_with(runner)}
        for key in ending:
            del self.reached[key]
        return list(ending.values())

    def is_missed_by(self, where: str) -> bool:
        """A function opens its own although this one is open; whether that is the first time."""
        return under(self._lock, self._is_missed_by, where)

    def _is_missed_by(self, where: str) -> bool:
        before = len(self._missed_by)
        self._missed_by.add(where)
        return len(self._missed_by) > before

    def joined_by(self, pending: Pending | None) -> InForce:
        """The same lifespan for one that joins it: everything is shared, but for the tasks to wait for."""
        joined = copy.copy(self)
        joined.pending = pending
        return joined

    def under(self, overrides: tuple[EnteredOverride, ...]) -> Engine:
        """The engine as overrides that were entered since see it: theirs is what these reach, the rest is shared."""
        if overrides == self.overrides:
            return self.engine
        newer = tuple(
            override
            for override in overrides
            if override not in self.overrides and issubclass(self.engine.container_class, override.container)
        )
        if not newer:
            return self.engine
        return under(self._lock, self._view, newer)

    def _view(self, newer: tuple[EnteredOverride, ...]) -> Engine:
        view = self._views.get(newer)
        if view is None:
            overrides = stacked(override.by_key(self.engine.container_class) for override in newer)
            schedule = self.engine.schedule
            view = self._views[newer] = self.engine.derive(
                lambda _: False, name=schedule.name, lasts=True, overrides=overrides, loop=schedule.loop
            )
        return view
