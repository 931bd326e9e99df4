"""The state of a provider: what it was declared with, read and set through dependency-injector's public names.

What a provider holds while it is in use is left behind: an open resource, the instance of a singleton, locks, context
variables, the asynchronous mode that it found out by being called.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from types import MethodType
from typing import Any, NamedTuple

from dependency_injector import providers

from prefect_lifespan.graph.edges import is_kind
from prefect_lifespan.provider_pickling.by_name import is_found_by_name

Declared = dict[str, Any]  # what a provider was declared with, by the names that its class has for that

# Without the stubs' types, most of which are partly unknown.
_BASE: Any = providers.Provider
_CONTAINER: Any = providers.Container


class ProviderState(NamedTuple):
    """What is to be carried over from one provider to another of its class."""

    declared: Declared
    overriding: tuple[Any, ...]  # the providers that override it, in their order
    attributes: Any  # what the user of a class of his own has set, as `object.__getstate__` gives it


class Kind(NamedTuple):
    """How all providers of some classes are read and set."""

    of: Any
    read: Callable[[Any], Declared]
    write: Callable[[Any, Declared], object]


def kind_of(provider_class: Any) -> Kind:
    """The kind of a provider class; one of the user's own is of the kind that it derives from."""
    return next(kind for kind in _KINDS if issubclass(provider_class, kind.of))


def empty(provider_class: Any) -> Any:
    """A provider of a class that nothing has been given to yet.

    The initialiser of a class of the user's own is not called, as pickle has it for any class.
    """
    made: Any = provider_class.__new__(provider_class)
    base: Any = providers.Delegate  # those of callables and others insist on what they delegate to
    if not issubclass(provider_class, base):
        base = next(own for own in provider_class.__mro__ if own.__module__ == providers.__name__)
    base.__init__(made)
    return made


def read(provider: Any) -> ProviderState:
    """The state of a provider."""
    return ProviderState(kind_of(type(provider)).read(provider), provider.overridden, provider.__getstate__())


def write(provider: Any, state: ProviderState) -> None:
    """Give an empty provider the state of another one."""
    kind_of(type(provider)).write(provider, state.declared)
    for overriding in state.overriding:
        # As the base class has it: what overrides a container as a whole has overridden its providers as well.
        _BASE.override(provider, overriding)
    attributes = state.attributes
    parts: Sequence[dict[str, Any] | None] = attributes if is_kind(attributes, tuple) else (attributes,)
    for part in parts:  # with slots there are two
        for name, value in (part or {}).items():
            setattr(provider, name, value)


def _getting(*names: str) -> Callable[[Any], Declared]:
    return lambda provider: {name: getattr(provider, name) for name in names}


def _setting(*names: str) -> Callable[[Any, Declared], None]:
    def write(provider: Any, declared: Declared) -> None:
        for name in names:
            getattr(provider, f"set_{name}")(declared[name])

    return write


def _read_call(provider: Any) -> Declared:
    return {"provides": _as_given(provider.provides), "args": provider.args, "kwargs": provider.kwargs}


def _write_call(provider: Any, declared: Declared) -> None:
    provider.set_provides(declared["provides"])
    provider.set_args(*declared["args"])
    provider.set_kwargs(**declared["kwargs"])


def _read_factory(provider: Any) -> Declared:
    return {**_read_call(provider), "attributes": provider.attributes}


def _write_factory(provider: Any, declared: Declared) -> None:
    _write_call(provider, declared)
    provider.set_attributes(**declared["attributes"])


def _as_given(initialiser: Any) -> Any:
    """The generator function of a resource, which dependency-injector wraps into a context manager and will again.

    The wrapper goes by the function's name but is not what its module has under it, so pickle would refuse it.
    """
    wrapper = None if is_kind(initialiser, MethodType) else getattr(initialiser, "__code__", None)
    if wrapper not in _WRAPPERS or is_found_by_name(initialiser):
        return initialiser
    inner: Any = initialiser.__wrapped__
    wrapped: dict[str, Any] = {**vars(inner), "__wrapped__": inner}
    if wrapped != vars(initialiser):  # a user's own, to which something was added
        return initialiser
    return inner if _is_generator_function(inner) else initialiser


def _is_generator_function(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _nothing() -> Generator[None]:
    yield


async def _anothing() -> AsyncGenerator[None]:
    yield


# One code object each, whatever they wrap.
_wrapped: tuple[Any, ...] = (contextlib.contextmanager(_nothing), contextlib.asynccontextmanager(_anothing))
_WRAPPERS = tuple(each.__code__ for each in _wrapped)


def _write_dependency(provider: Any, declared: Declared) -> None:
    provider.set_instance_of(declared["instance_of"])
    provider.set_default(declared["default"])
    provider.assign_parent(declared["parent"])


def _write_selector(provider: Any, declared: Declared) -> None:
    provider.set_selector(declared["selector"])
    provider.set_providers(**declared["providers"])


def _write_list(provider: Any, declared: Declared) -> None:
    provider.set_args(*declared["args"])


def _read_dependencies(provider: Any) -> Declared:
    return {"providers": dict(provider.providers), "parent": provider.parent}


def _write_dependencies(provider: Any, declared: Declared) -> None:
    provider.providers.update(declared["providers"])
    provider.assign_parent(declared["parent"])


def _read_container(provider: Any) -> Declared:
    container = provider.container
    container_class = getattr(container, "declarative_parent", None)
    return {"container_cls": container_class, "container": container, "parent": provider.parent}


def _write_container(provider: Any, declared: Declared) -> None:
    # There is no setter; what the container is overridden with arrives with its providers.
    _CONTAINER.__init__(provider, declared["container_cls"], declared["container"])
    provider.assign_parent(declared["parent"])


def _read_self(provider: Any) -> Declared:
    container = provider() if provider.last_overriding is None else None
    # In the order of declaration, so that long chains of providers follow each other rather than nest: pickle gives up
    # where Python's stack ends.
    in_order = tuple(container.providers.values()) if container is not None else ()
    return {"container": container, "alt_names": provider.alt_names, "in_order": in_order}


_CONFIGURATION = ("name", "strict", "default", "ini_files", "yaml_files", "json_files", "pydantic_settings")


def _read_configuration(provider: Any) -> Declared:
    return {name: getattr(provider, f"get_{name}")() for name in _CONFIGURATION}


_CALLS = (providers.Callable, providers.BaseResource, providers.MethodCaller)
_FACTORIES = (providers.Factory, providers.BaseSingleton)
_GETTERS = (providers.AttributeGetter, providers.ItemGetter)
_PROVIDES = (providers.ProvidedInstance, providers.Delegate, providers.Object)

# First match wins.
_KINDS: Sequence[Kind] = (
    Kind(_CALLS, _read_call, _write_call),
    Kind(_FACTORIES, _read_factory, _write_factory),
    Kind(providers.Configuration, _read_configuration, _setting(*_CONFIGURATION)),
    Kind(providers.DependenciesContainer, _read_dependencies, _write_dependencies),
    Kind(_PROVIDES, _getting("provides"), _setting("provides")),
    Kind(_GETTERS, _getting("provides", "name"), _setting("provides", "name")),
    Kind(providers.Dependency, _getting("instance_of", "default", "parent"), _write_dependency),
    Kind(providers.Aggregate, _getting("providers"), _setting("providers")),
    Kind(providers.Selector, _getting("selector", "providers"), _write_selector),
    Kind(providers.List, _getting("args"), _write_list),
    Kind(providers.Dict, _getting("kwargs"), _setting("kwargs")),
    Kind(providers.Self, _read_self, _setting("container", "alt_names")),
    Kind(providers.Container, _read_container, _write_container),
    Kind(providers.Provider, _getting(), _setting()),
)
