"""Which flow runs have no lifespan of a container that something in them asks for: told once for each run."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import cast

from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.signal_safe import under


class RunsWithout:
    """The runs, each with a container, that were told of or need not be: as many as may be under way at a time.

    A class is remembered by its name, so that it is not kept alive.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._known: dict[Hashable, None] = {}
        self._lock = threading.Lock()

    def is_new(self, run: Hashable, container: ContainerClass) -> bool:
        """Whether nothing is known of this run and container; from now on something is."""
        what = (run, container.__module__, container.__qualname__)
        return under(self._lock, self._note, what)

    def _note(self, what: Hashable) -> bool:
        if what in self._known:
            return False
        self._known[what] = None
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
        return True

    def has_one(self, run: Hashable, container: ContainerClass) -> None:
        """The run has a lifespan of the container: a hook that is called after its end is no mistake."""
        for declared in container.__mro__:
            self.is_new(run, cast("ContainerClass", declared))


runs_without: RunsWithout = RunsWithout()
