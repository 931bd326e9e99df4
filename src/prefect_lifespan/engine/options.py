"""What a lifespan says about opening and closing, for all of its resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect_lifespan.engine.events import Observer, Observers
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.lifetimes import Policy

Overrides = Mapping[int, AnyProvider]


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine opens and closes what the resources' own policies leave open."""

    defaults: Policy
    max_workers: int = 1
    observers: Observers = field(default_factory=Observers)  # shared by all that stands on an engine
    log: Observer | None = None  # writes the lines

    @property
    def told(self) -> tuple[Observers, ...]:
        """Who hears what happens: the log first."""
        return (self.observers,) if self.log is None else (Observers((self.log,)), self.observers)
