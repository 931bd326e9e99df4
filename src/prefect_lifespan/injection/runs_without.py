"""Which flow runs have no lifespan of a container that something in them asks for: told once for each run."""

from __future__ import annotations

import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

from dependency_injector import containers

from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.process_wide import process_wide
from prefect_lifespan.run_context import run_context
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


def tell_of_opening_for_a_call(container: ContainerClass, where: str) -> None:
    """A call opens what it needs for itself, as no lifespan of the container is in force: that may be a mistake."""
    name = container.__qualname__
    missed = process_wide.open_somewhere(container) if run_context.run() is None else None
    if missed is not None and missed.is_missed_by(where):
        missed.logger.warning(
            "%s was called where no lifespan of %s is in force, although one is open in this process: it opens what it "
            "needs for each call, and closes it. A thread or executor that does not carry context variables needs "
            "`carried(function)`, an application whose requests run in contexts of their own "
            "`lifespan(%s, everywhere=True)`",
            where,
            name,
            name,
        )
        return
    run, logger = run_context.run(), run_context.logger()
    if run is not None and runs_without.is_new(run, container):
        logger.warning(
            "This flow run has no lifespan of %s, which %s asks for: what it needs is opened for this call and closed "
            "with it, and so for each such call of the run. Put @lifespan(%s) below @flow",
            name,
            where,
            name,
        )
    else:
        level = logging.INFO if run is None else logging.DEBUG
        logger.log(level, "No lifespan of %s is in force for %s: what it needs is opened for this call", name, where)
