"""What one injected parameter is given, and what was prepared for all those of a function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.engine import Engine, Slot
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.in_flight import Flight
from prefect_lifespan.injection.markers import Marker
from prefect_lifespan.scope import Unit
from prefect_lifespan.surroundings import surroundings

Loop = asyncio.AbstractEventLoop | None


@dataclass(frozen=True, slots=True)
class Given:
    """One injected parameter in one scope: its provider, and the resources that it needs open."""

    marker: Marker
    named: AnyProvider | str  # what the engine calls what the marker names
    engine: Engine
    provider: AnyProvider
    keys: tuple[int, ...]  # the declared providers it stands on
    slots: tuple[Slot, ...]

    @property
    def name(self) -> str:
        """The parameter's."""
        return self.marker.name

    @property
    def as_provider(self) -> bool:
        """Whether it is the provider that is injected, and not its value."""
        return self.marker.as_provider

    @property
    def value(self) -> Callable[[], Any]:
        """What gives the value, when the resources it needs are open.

        `Provider[App.db.provider]` is `Provider[App.db]`, as dependency-injector has it: a delegate gives the other one.
        """
        itself = self.as_provider and not isinstance(self.provider, providers.Delegate)
        return (lambda: self.provider) if itself else cast("Callable[[], Any]", self.provider)


@dataclass(slots=True)
class Prepared:
    """All injected parameters of a function in one scope, with what must still hold for them to be used again."""

    flight: Flight  # where calls are counted
    home: int | None  # the same of that, for synchronous calls to compare
    direct: tuple[tuple[str, Slot], ...]  # resources, given as they are
    called: tuple[tuple[str, Callable[[], Any]], ...]
    loop: Loop  # the event loop that asynchronous values among them belong to
    within_unit: bool  # the call needs a unit of its attempt around it: what it calls may ask for a task resource
    of_unit: bool  # values among them belong to the unit of the scope that this is kept in

    def holds(self, unit: Unit | None, *, on_loop: bool) -> bool:
        """Whether the caller has the unit, and is on the event loop, that this was prepared for."""
        if self.within_unit and (unit is None or unit.attempt != surroundings.attempt()):
            return False
        return not on_loop or self.loop is None or asyncio.get_running_loop() is self.loop

    def values(self) -> dict[str, Any] | None:
        """The values, where they are at hand still."""
        values: dict[str, Any] = {}
        for name, slot in self.direct:
            value = slot.value
            # Closing says so before it takes the value away, so a value read before is a good one.
            if not slot.at_hand:
                return None
            values[name] = value
        # A resource behind a provider is open since this was prepared; one that has closed says so when it is asked.
        for name, provider in self.called:
            values[name] = provider()
        return values
