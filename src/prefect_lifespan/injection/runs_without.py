"""Which flow runs have no lifespan of a container that something in them asks for: told once for each run."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from dependency_injector import containers

from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.signal_safe import under


class RunsWithout:
    """The runs, each with the containers that it was told of or need not be.

    Hooks are called right after a run, so the last runs that were asked about are remembered: more than a process has
    under way at a time. A run is remembered by its text and a class by its name, so that nothing is kept alive.
    """

    def __init__(self, limit: int = 200) -> None:
        self._limit = limit
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, run: Hashable, container: ContainerClass) -> bool:
        """Whether nothing is known of this run and container; from now on something is."""
        return under(self._lock, self._note, str(run), [_name_of(container)])

    def has_one(self, run: Hashable, container: ContainerClass) -> None:
        """The run has a lifespan of the container: a hook that is called after its end is no mistake."""
        declared = (each for each in container.__mro__ if issubclass(each, containers.DeclarativeContainer))
        under(self._lock, self._note, str(run), [_name_of(each) for each in declared if each is not _BASE])

    def _note(self, run: str, names: Sequence[str]) -> bool:
        known = self._known.get(run, ())
        new = tuple(name for name in names if name not in known)
        self._known[run] = known + new
        self._known.move_to_end(run)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return bool(new)


_BASE = containers.DeclarativeContainer


def _name_of(container: type) -> str:
    return sys.intern(f"{container.__module__}.{container.__qualname__}")  # one text for all runs


runs_without: RunsWithout = RunsWithout()
