"""What a provider gives, to be kept and given without asking it again: its keeper is told when that may be another one.

Everything is in this order: say who keeps it, read it, look whether it is still so. What changes meanwhile is told.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from dependency_injector import providers

from prefect_lifespan.engine.keepers import Keeper
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.engine.tellers import Teller, TellingFactory
from prefect_lifespan.graph.edges import is_kind, overriding_of

NOTHING: Final = object()  # None is a value


def value_at_hand(provider: Any, keeper: Keeper) -> object:
    """The one value that a resource or a singleton gives from now on; `NOTHING` of any other, or where nobody would tell."""
    if is_kind(provider, ManagedResource):
        slot = provider.slot
        slot.kept_by(keeper)
        # Closing says so before it takes a value away, so a value read before is a good one.
        value = slot.value
        return value if slot.at_hand else NOTHING
    if not (is_kind(provider, Teller) and is_kind(provider, providers.BaseSingleton)):
        return NOTHING
    provider.kept_by(keeper)
    if overriding_of(provider) is not None:
        return NOTHING
    value = provider()
    # One that has made None makes it anew for each call.
    return NOTHING if value is None or _is_awaited(value) else value


def making_at_hand(provider: Any, keeper: Keeper) -> Callable[[], object] | None:
    """What makes a factory's objects from what is at hand; None of any other, or where nobody would tell."""
    if not is_kind(provider, TellingFactory):
        return None
    provider.kept_by(keeper)
    made, args, kwargs = provider.provides, provider.args, provider.kwargs
    plain = isinstance(made, type) and not provider.attributes and overriding_of(provider) is None
    if not plain or provider.is_async_mode_enabled():
        return None
    given: list[object] = []
    for argument in (*args, *kwargs.values()):
        value = value_at_hand(argument, keeper) if providers.is_provider(argument) else argument
        if value is NOTHING or (_is_awaited(value) and not provider.is_async_mode_disabled()):
            return None
        given.append(value)
    positional, named = given[: len(args)], dict(zip(kwargs, given[len(args) :], strict=True))
    return functools.partial(made, *positional, **named)


def _is_awaited(value: object) -> bool:
    """Whether dependency-injector, or who calls a provider, awaits this."""
    return asyncio.isfuture(value) or inspect.isawaitable(value)
