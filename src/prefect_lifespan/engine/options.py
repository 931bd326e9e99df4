"""What a lifespan says about opening and closing, for all of its resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prefect_lifespan.engine.events import Listener
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.lifetimes import Policy

Overrides = Mapping[int, AnyProvider]


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine opens and closes what the resources' own policies leave open."""

    defaults: Policy
    max_workers: int = 1
    listeners: tuple[Listener, ...] = ()
    log: Listener | None = None  # writes the lines

    @property
    def told(self) -> tuple[Listener, ...]:
        """Who hears what happens: the log first."""
        return self.listeners if self.log is None else (self.log, *self.listeners)
