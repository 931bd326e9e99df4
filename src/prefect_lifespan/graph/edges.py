"""What one provider needs, read through dependency-injector's public attributes, each need with a label."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from dependency_injector import providers

AnyProvider: TypeAlias = "providers.Provider[Any]"
Need: TypeAlias = tuple[AnyProvider, str, bool]

_CALLS = (
    providers.Callable,
    providers.Factory,
    providers.BaseSingleton,
    providers.BaseResource,
    providers.MethodCaller,
)
_CHAINS = (providers.ProvidedInstance, providers.AttributeGetter, providers.ItemGetter, providers.MethodCaller)
_SUB_CONTAINERS = (providers.Container, providers.DependenciesContainer)


def needs_of(provider: AnyProvider) -> Iterator[Need]:
    """Providers that `provider` itself asks for when it is called, as (provider, label, structural).

    Overriding is left aside: an overridden provider asks for nothing of its own, and the caller knows that.
    """
    if isinstance(provider, providers.Self):
        return  # the container itself: it can reach everything, and asks for nothing
    if isinstance(provider, _SUB_CONTAINERS):
        yield from ((child, name, True) for name, child in children_of(provider).items())
    elif isinstance(provider, providers.Dependency):
        if provider.default is not None:
            yield provider.default, "default", False
    elif isinstance(provider, providers.Delegate):
        yield from _providers([("provider", provider.provides)], structural=True)
    elif isinstance(provider, providers.Selector):
        yield from _providers([("selector", provider.selector)])
        yield from _providers(provider.providers.items())
    elif isinstance(provider, providers.Aggregate):
        yield from _providers((str(name), child) for name, child in provider.providers.items())
    elif isinstance(provider, (*_CALLS, *_CHAINS)):
        yield from _call_needs(provider)
    elif isinstance(provider, (providers.List, providers.Dict)):
        yield from _providers(_items(provider))
    elif isinstance(provider, providers.ConfigurationOption):
        # `_get_root` is what dependency-injector's own wiring calls: the public `root` would make a child option.
        yield provider._get_root(), "config", False
        yield from _providers(("key", segment) for segment in provider.get_name_segments())
    elif not isinstance(provider, (providers.Configuration, providers.Object)):
        # A configuration relates to its options, and they need it; an object is given as it is, were it a provider.
        # A provider class that we do not know: its own word for what it needs.
        yield from ((child, "needs", False) for child in provider.related if child not in provider.overridden)


def children_of(provider: AnyProvider) -> Mapping[str, AnyProvider]:
    """The named providers inside a sub-container; none for any other provider."""
    if not isinstance(provider, _SUB_CONTAINERS):
        return {}
    return dict(named(provider.providers))


def named(declared: Mapping[Any, AnyProvider]) -> Iterator[tuple[str, AnyProvider]]:
    """Name and provider of what a container declares, the container's own `Self` left out.

    A snapshot: dependency-injector's ProvidersMap adds `__self__` to this very dictionary, perhaps in another thread.
    """
    return ((str(name), p) for name, p in list(declared.items()) if not isinstance(p, providers.Self))


def plain_arguments(provider: AnyProvider) -> Iterator[tuple[str, object]]:
    """Arguments given to a provider that are not providers themselves: what a container instance copies."""
    if isinstance(provider, _CALLS):
        for label, value in _call_items(provider):
            if not providers.is_provider(value):
                yield label, value
    elif isinstance(provider, (providers.List, providers.Dict)):
        yield from ((label, value) for label, value in _items(provider) if not providers.is_provider(value))


def initialiser_is_async(initialiser: object) -> bool:
    """Whether an initialiser certainly opens asynchronously; one that may go either way is found out when it runs."""
    while isinstance(initialiser, functools.partial):
        initialiser = initialiser.func
    inner = getattr(initialiser, "__wrapped__", initialiser)  # contextlib wraps generator functions
    if isinstance(inner, type):
        return hasattr(inner, "__aenter__") and not hasattr(inner, "__enter__")
    return any(
        inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f)
        for f in (initialiser, inner, getattr(inner, "__call__", None))
    )


def _call_needs(provider: Any) -> Iterator[Need]:
    yield from _providers([(_chain_label(provider), provider.provides)])
    if isinstance(provider, _CALLS):
        yield from _providers(_call_items(provider))


def _call_items(provider: Any) -> Iterator[tuple[str, object]]:
    yield from ((f"argument {index}", value) for index, value in enumerate(provider.args))
    yield from provider.kwargs.items()
    if isinstance(provider, (providers.Factory, providers.BaseSingleton)):
        yield from ((f".{name}", value) for name, value in provider.attributes.items())


def _items(provider: Any) -> Iterable[tuple[str, object]]:
    if isinstance(provider, providers.List):
        return [(f"item {index}", value) for index, value in enumerate(provider.args)]
    return [(str(name), value) for name, value in provider.kwargs.items()]


def _chain_label(provider: AnyProvider) -> str:
    if isinstance(provider, providers.AttributeGetter):
        return f".{provider.name}"
    if isinstance(provider, providers.ItemGetter):
        return f"[{provider.name!r}]"
    return "provides"


def _providers(items: Iterable[tuple[str, Any]], *, structural: bool = False) -> Iterator[Need]:
    yield from ((value, label, structural) for label, value in items if providers.is_provider(value))
