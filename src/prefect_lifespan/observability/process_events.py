"""What lives as long as the process belongs to no lifespan: the run that opens or closes it hears of it, with its own.

So a run's totals and report have it, and a lifespan's observers hear of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect_lifespan.engine import Engine, Event, Observers, whose
from prefect_lifespan.engine.events import THE_PROCESS, Choosy
from prefect_lifespan.forks import children
from prefect_lifespan.graph.anchors import owner_of
from prefect_lifespan.graph.reader import qualified_name
from prefect_lifespan.lifetimes import Lifetime


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """Who hears of it in one run: the observers of a lifespan that uses what these containers declare."""

    flow_run: str
    containers: frozenset[str]
    told: Observers

    @classmethod
    def of(cls, engine: Engine) -> Hearing:
        """That of a lifespan, for the run that the caller is in."""
        shared = [node.provider for node in engine.graph.resources if node.lifetime is Lifetime.PROCESS]
        owners = {owner_of(provider) or engine.container_class for provider in shared}
        return cls(whose.here().flow_run, frozenset(map(qualified_name, owners)), engine.options.observers)


class ProcessEvents(Choosy):
    """An observer of the process, which passes on what is told of it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In this process, and in a forked child, whose lifespans are its parent's."""
        # Each change is one step in C: a lock would stay taken where a signal interrupts its holder.
        self._hearings: dict[Hearing, None] = {}

    def add(self, engine: Engine) -> Hearing | None:
        """Let a lifespan's observers hear of it, until that is removed; None where it shares nothing of the process."""
        hearing = Hearing.of(engine)
        if not hearing.containers:
            return None
        self._hearings[hearing] = None
        return hearing

    def remove(self, hearing: Hearing | None) -> None:
        """No more."""
        if hearing is not None:
            self._hearings.pop(hearing, None)

    def hears(self, level: int) -> bool:  # noqa: ARG002 - as every observer has it
        """Whether somebody would hear."""
        return bool(self._hearings)

    def __call__(self, event: Event) -> None:
        if event.lifespan != THE_PROCESS:
            return
        for hearing in tuple(self._hearings):
            if hearing.flow_run == event.whose.flow_run and event.container in hearing.containers:
                hearing.told.tell(event)


process_events: ProcessEvents = ProcessEvents()
children.begin_with(process_events)
