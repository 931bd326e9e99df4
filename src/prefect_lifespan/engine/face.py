"""What the engine's own parts ask of it, so that none of them has to know how it is made."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Protocol

from dependency_injector import containers
from dependency_injector.wiring import Modifier

from prefect_lifespan.engine.options import Options, Overrides
from prefect_lifespan.engine.schedule.report import CloseReport, Outcome
from prefect_lifespan.engine.slot import SharedSchedule, Slot
from prefect_lifespan.graph import Graph
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass


class Face(Protocol):
    """An engine, as its parts see it."""

    @property
    def graph(self) -> Graph:
        """What the container declares."""
        ...

    @property
    def whole(self) -> Graph | None:
        """What its graph is a part of, where it has no container instance."""
        ...

    @property
    def schedule(self) -> SharedSchedule:
        """What its slots share."""
        ...

    @property
    def container_class(self) -> ContainerClass:
        """The class that it is an instance of."""
        ...

    @property
    def options(self) -> Options:
        """How it opens and closes."""
        ...

    @property
    def overrides(self) -> Overrides:
        """What stands in for providers of the class."""
        ...

    @property
    def process_keys(self) -> set[Hashable]:
        """The engines of the process whose resources it shares, by what they are for."""
        ...

    @property
    def slots(self) -> Mapping[int, Slot]:
        """Its resources, and those that it shares."""
        ...

    @property
    def instances(self) -> Mapping[int, AnyProvider]:
        """Its providers, by what they are copies of."""
        ...

    @property
    def instance(self) -> containers.DynamicContainer:
        """The container instance."""
        ...

    @property
    def parent(self) -> Face | None:
        """The engine that it stands on."""
        ...

    @property
    def making(self) -> threading.RLock:
        """Held while something is made for the first time."""
        ...

    def resolve(self, provider: AnyProvider | str, modifier: Modifier | None = None) -> AnyProvider | None:
        """Its provider for what a marker names."""
        ...

    def eager(self) -> list[Slot]:
        """What an eager opening opens."""
        ...

    def needed(self, keys: Iterable[int]) -> tuple[Slot, ...]:
        """The resources that providers need, dependencies first."""
        ...

    def needs(self, slot: Slot) -> list[Slot]:
        """The resources that a slot needs directly."""
        ...

    def open(self, slots: Sequence[Slot], where: str, *, asked: Sequence[int] = ()) -> None:
        """Open slots without an event loop."""
        ...

    async def aopen(self, slots: Sequence[Slot], where: str, *, asked: Sequence[int] = ()) -> None:
        """Open slots from a coroutine."""
        ...

    def withhold_singletons(self) -> None:
        """Let singletons that were made of what has closed say so."""
        ...


class ProcessEngine(Face, Protocol):
    """An engine of the process, as those see it who share its resources, and who close it."""

    def open_slots(self) -> list[Slot]:
        """The resources of its own that are open."""
        ...

    def close(self, outcome: Outcome = None) -> CloseReport:
        """Close everything that it has opened."""
        ...

    async def aclose(self, outcome: Outcome = None) -> CloseReport:
        """The same from a coroutine."""
        ...
