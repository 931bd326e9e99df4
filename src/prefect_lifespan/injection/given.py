"""What one injected parameter is given, and what gives the values of all those of a function, to be kept for its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import call
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.engine import Engine, Slot
from prefect_lifespan.engine.keepers import Keeper
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.injection.markers import Marker
from prefect_lifespan.scope import Gives, Kept, current_scope

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


def kept(given: Sequence[Given], keeper: Keeper) -> Kept | None:
    """The values of all parameters in this order, or what gives them by asking providers; None if some are gone.

    A resource's value is kept as it is: its lifespan withdraws it from the keeper. Of others nobody tells that they were
    reset or overridden, so their providers are asked; a resource behind one is open, and says so itself when it has closed.
    """
    slots = [
        each.provider.slot for each in given if isinstance(each.provider, ManagedResource) and not each.as_provider
    ]
    if len(slots) < len(given):
        asked = tuple(each.value for each in given)
        return lambda: tuple(map(call, asked))
    for slot in slots:
        slot.kept_by(keeper)
    values = tuple(slot.value for slot in slots)
    # Closing says so before it takes a value away, so a value read before is a good one.
    return values if all(slot.at_hand for slot in slots) else None


def at_hand(kept: Kept | None) -> tuple[Any, ...] | None:
    """The values, where they are at hand still."""
    return kept() if callable(kept) else kept


def on_loop(loop: asyncio.AbstractEventLoop, gives: Kept) -> Gives:
    """The same for calls on the event loop that asynchronous values among them belong to."""
    return lambda: at_hand(gives) if asyncio.get_running_loop() is loop else None


def of_call_scope(key: str) -> Gives:
    """The same for values among which some are a call scope's own: each call scope keeps those of its calls."""

    def given_by_call_scope() -> tuple[Any, ...] | None:
        call_scope = current_scope().call_scope_here
        return None if call_scope is None else at_hand(call_scope.kept.get(key))

    return given_by_call_scope


class InACallScope:
    """The same for calls that are in a call scope, although they ask for nothing of it.

    What such a call makes may ask for task resources: the outermost one brings the call scope for them, and ends it.
    """

    __slots__ = ("gives",)

    def __init__(self, gives: Kept) -> None:
        self.gives: Kept = gives

    def __call__(self) -> tuple[Any, ...] | None:
        """The values; None where there is no call scope yet."""
        return None if current_scope().call_scope_here is None else at_hand(self.gives)
