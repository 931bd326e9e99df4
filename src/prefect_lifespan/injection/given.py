"""What one injected parameter is given, and what gives the values of all those of a function, to be kept for its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from operator import call
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.engine import Engine, Slot
from prefect_lifespan.engine.at_hand import NOTHING, making_at_hand, value_at_hand
from prefect_lifespan.engine.keepers import Keeper
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.errors import LifespanClosedError
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.injection.markers import Marker
from prefect_lifespan.scope import Gives, Kept, at_hand, current_scope
from prefect_lifespan.signal_safe import under

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


def refuse_what_closes(given: Iterable[Given], late_for: Container[object]) -> None:
    """Refuse, for a call that these lifespans do not wait for, what they have open still: it would close under that.

    Raises:
        LifespanClosedError: there is such a resource among what the parameters need.
    """
    for slot in (slot for each in given for slot in each.slots):
        if slot.schedule.is_left_by(late_for):
            raise LifespanClosedError(slot.path, slot.schedule.ended_with)


def kept(given: Sequence[Given], keeper: Keeper, *beside: object) -> Kept:
    """The values of all parameters in this order, or what gives them by making or asking for some; told to their keeper.

    A resource that is needed withdraws what is kept when it closes, also where it stands behind what was made of it.
    What is kept for a coroutine function has the event loop `beside` it that its values belong to, or None.
    """
    values = [_kept_value(each, keeper) for each in given]
    if all(value is not NOTHING for value in values):
        return (*values, *beside)
    return _asking([_asked(each, value, keeper) for each, value in zip(given, values, strict=True)], beside)


def _kept_value(given: Given, keeper: Keeper) -> object:
    if given.as_provider:
        return NOTHING if isinstance(given.provider, providers.Delegate) else given.provider
    for slot in given.slots:
        slot.kept_by(keeper)
    # dependency-injector's singletons are made twice by two threads that are the first to ask.
    return under(given.engine.making, value_at_hand, given.provider, keeper)


def _asked(given: Given, value: object, keeper: Keeper) -> Callable[[], object]:
    if value is not NOTHING:
        return lambda: value
    return under(given.engine.making, making_at_hand, given.provider, keeper) or given.value


def _asking(asked: Sequence[Callable[[], object]], beside: tuple[object, ...]) -> Gives:
    if len(asked) == 1:  # most often
        (only,) = asked
        return lambda: (only(), *beside)
    return lambda: (*map(call, asked), *beside)


def loop_of(given: Iterable[Given]) -> Loop:
    """The event loop that asynchronous values among them belong to."""
    slots = (slot for each in given for slot in each.slots)
    return next((slot.schedule.loop for slot in slots if slot.asynchronous and slot.policy.loop_bound), None)


def on_loop(loop: asyncio.AbstractEventLoop, gives: Kept) -> Gives:
    """The same for calls on the event loop that asynchronous values among them belong to."""
    return lambda: at_hand(gives) if running_loop() is loop else None


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
