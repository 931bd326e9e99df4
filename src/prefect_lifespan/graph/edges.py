"""What one provider needs, read through dependency-injector's public attributes, each need with a label."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from dependency_injector import providers

AnyProvider: TypeAlias = "providers.Provider[Any]"
Need: TypeAlias = tuple[AnyProvider, str, bool]

Reader: TypeAlias = Callable[[Any], Iterator[Need]]

CHAINS = (providers.ProvidedInstance, providers.AttributeGetter, providers.ItemGetter, providers.MethodCaller)
SUB_CONTAINERS = (providers.Container, providers.DependenciesContainer)
_CALLS = (providers.Callable, providers.Factory, providers.BaseSingleton, providers.BaseResource)
_COLLECTIONS = (providers.List, providers.Dict)


def is_kind(provider: Any, kinds: Any) -> bool:
    """`isinstance` that leaves the type alone: the stubs of most providers are partly unknown."""
    return isinstance(provider, kinds)


def overriding_of(provider: Any) -> AnyProvider | None:
    """The provider that stands in for this one, if any."""
    return provider.last_overriding


def related_to(provider: Any) -> Iterator[AnyProvider]:
    """What dependency-injector itself says that a provider relates to, whatever overrides it included."""
    return provider.related


def root_of(option: Any) -> AnyProvider:
    """The configuration that an option belongs to.

    A private call, the one that dependency-injector's own wiring makes: the public `root` would make a child option.
    """
    return option._get_root()  # noqa: SLF001


def needs_of(provider: AnyProvider) -> Iterator[Need]:
    """Providers that `provider` itself asks for when it is called, as (provider, label, structural).

    Overriding is left aside: an overridden provider asks for nothing of its own, and the caller knows that.
    """
    reader = next((reader for kinds, reader in _READERS if isinstance(provider, kinds)), _related)
    return reader(provider)


def children_of(provider: Any) -> Mapping[str, AnyProvider]:
    """The named providers inside a sub-container; none for any other provider."""
    return dict(named(provider.providers)) if is_kind(provider, SUB_CONTAINERS) else {}


def named(declared: Mapping[Any, AnyProvider]) -> Sequence[tuple[str, AnyProvider]]:
    """Name and provider of what a container declares, the container's own `Self` left out.

    A snapshot: dependency-injector's ProvidersMap adds `__self__` to this very dictionary, perhaps in another thread.
    """
    return [(str(name), p) for name, p in list(declared.items()) if not isinstance(p, providers.Self)]


def plain_arguments(provider: AnyProvider) -> Iterator[tuple[str, object]]:
    """Arguments given to a provider that are not providers themselves: what a container instance copies."""
    items: Iterable[tuple[str, object]] = ()
    if isinstance(provider, (*_CALLS, providers.MethodCaller)):
        items = _call_items(provider)
    if isinstance(provider, providers.List):  # the values of a `Dict` are not copied
        items = _collection_items(provider)
    return ((label, value) for label, value in items if not providers.is_provider(value))


def initialiser_is_async(initialiser: object) -> bool:
    """Whether an initialiser certainly opens asynchronously; one that may go either way is found out when it runs."""
    while isinstance(initialiser, functools.partial):
        initialiser = initialiser.func
    if providers.is_provider(initialiser):
        return False  # a `.provided` chain answers to every name, `__wrapped__` and `__aenter__` included
    inner: Any = getattr(initialiser, "__wrapped__", initialiser)  # contextlib wraps generator functions
    if is_kind(inner, type):
        return hasattr(inner, "__aenter__") and not hasattr(inner, "__enter__")
    candidates: tuple[Any, ...] = (initialiser, inner, getattr(inner, "__call__", None))  # noqa: B004 - looked into
    return any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in candidates)


def makes_settings(provider: Any) -> bool:
    """Whether a provider makes an object of pydantic-settings once, told without loading that."""
    return is_kind(provider, providers.BaseSingleton) and is_settings_class(provider.provides)


def is_settings_class(made: Any) -> bool:
    """Whether something is a class of pydantic-settings, told without loading that."""
    bases: tuple[type, ...] = getattr(made, "__mro__", ())
    return any(b.__name__ == "BaseSettings" and b.__module__.startswith("pydantic_settings.") for b in bases)


def gives_coroutines(function: object) -> bool:
    """Whether what a callable, a factory or a singleton calls is a coroutine function.

    An object that it makes is handed over whatever that can do: only a resource is entered, so only there it matters
    that a class is an asynchronous context manager.
    """
    while isinstance(function, functools.partial):
        function = function.func
    if providers.is_provider(function) or is_kind(function, type):
        return False
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _nothing(_: Any) -> Iterator[Need]:
    """A `Self` can reach the whole container and asks for none of it; an object is given as it is, even a provider."""
    return iter(())


def _children(provider: Any) -> Iterator[Need]:
    return ((child, name, True) for name, child in children_of(provider).items())


def _dependency(provider: Any) -> Iterator[Need]:
    return _providers([("default", provider.default)])


def _delegate(provider: Any) -> Iterator[Need]:
    return _providers([("provider", provider.provides)], structural=True)


def _selector(provider: Any) -> Iterator[Need]:
    return _providers([("selector", provider.selector), *provider.providers.items()])


def _aggregate(provider: Any) -> Iterator[Need]:
    return _providers((str(name), child) for name, child in provider.providers.items())


def _chain(provider: Any) -> Iterator[Need]:
    if is_kind(provider, providers.AttributeGetter):
        label = f".{provider.name}"
    elif is_kind(provider, providers.ItemGetter):
        label = f"[{provider.name!r}]"
    else:
        label = "provides"
    arguments = _call_items(provider) if is_kind(provider, providers.MethodCaller) else ()
    return _providers([(label, provider.provides), *arguments])


def _call(provider: Any) -> Iterator[Need]:
    return _providers([("provides", provider.provides), *_call_items(provider)])


def _collection(provider: Any) -> Iterator[Need]:
    return _providers(_collection_items(provider))


def _option(option: Any) -> Iterator[Need]:
    return _providers([("config", root_of(option)), *(("key", segment) for segment in option.get_name_segments())])


def _related(provider: Any) -> Iterator[Need]:
    """A provider class that we do not know: its own word for what it needs."""
    return _providers(("needs", child) for child in provider.related if child not in provider.overridden)


# First match wins; a configuration relates to its options, but it is they that need it.
_READERS: Sequence[tuple[Any, Reader]] = (
    ((providers.Self, providers.Configuration), _nothing),
    (SUB_CONTAINERS, _children),
    (providers.Object, _nothing),
    (providers.Dependency, _dependency),
    (providers.Delegate, _delegate),
    (providers.Selector, _selector),
    (providers.Aggregate, _aggregate),
    (CHAINS, _chain),
    (_CALLS, _call),
    (_COLLECTIONS, _collection),
    (providers.ConfigurationOption, _option),
)


def _call_items(provider: Any) -> Iterator[tuple[str, object]]:
    yield from ((f"argument {index}", value) for index, value in enumerate(provider.args))
    yield from provider.kwargs.items()
    if is_kind(provider, (providers.Factory, providers.BaseSingleton)):
        yield from ((f".{name}", value) for name, value in provider.attributes.items())


def _collection_items(provider: Any) -> Iterable[tuple[str, object]]:
    if is_kind(provider, providers.List):
        return [(f"item {index}", value) for index, value in enumerate(provider.args)]
    return [(str(name), value) for name, value in provider.kwargs.items()]


def _providers(items: Iterable[tuple[str, Any]], *, structural: bool = False) -> Iterator[Need]:
    return ((value, label, structural) for label, value in items if providers.is_provider(value))
