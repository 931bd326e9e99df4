"""What pickle and `copy` are told of dependency-injector's providers: one reducer for each class, in `copyreg`.

A provider that an importable container class declares by name travels as a reference: the class and the path. What
arrives is the one that the other process declares, without overrides that were set on the class here: they belong to
what is sent along for one opening. Any other provider travels by value; one that a class in `__main__` or in a function
declares brings its class along, and where a process has that class already, its own provider is what arrives.

Chains of any length travel in the order in which a container declares them. Written in place, without names, they nest, and
pickle gives up where Python's stack ends.
"""

from __future__ import annotations

import copy
import copyreg
import functools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

from dependency_injector import providers

from prefect_lifespan.errors import LifespanError
from prefect_lifespan.graph.edges import AnyProvider, is_kind, root_of
from prefect_lifespan.graph.reader import ContainerClass, qualified_name
from prefect_lifespan.importing import when_imported
from prefect_lifespan.provider_pickling import classes_by_value, provider_state
from prefect_lifespan.provider_pickling.by_name import is_importable
from prefect_lifespan.provider_pickling.provider_paths import path_of, provider_at
from prefect_lifespan.provider_pickling.provider_state import Declared, ProviderState
from prefect_lifespan.provider_pickling.sent_classes import SentClass, standing_for

Reduced: TypeAlias = tuple[Any, ...]

# Private, and the only way: `copy.copy` asks the reducers too, a reference would be no copy, and it knows no reducer
# that sets the state by a function.
_copiers: dict[type, Any] = cast("Any", copy)._copy_dispatch  # noqa: SLF001


def register() -> None:
    """Register a reducer for every provider class that there is by now; those that have one keep it.

    pickle looks reducers up by the exact class, so this is to be called again when classes may have been added. A
    class of the user's own that says itself how it is pickled is left alone.
    """
    for provider_class in _classes(providers.Provider):
        if provider_class not in copyreg.dispatch_table and not _says_itself(provider_class):
            copyreg.pickle(provider_class, _reducer_for(provider_class))
            _copiers[provider_class] = _copied


def _classes(base: type) -> Iterator[type]:
    yield base
    classes: list[type] = type.__subclasses__(base)
    for derived in classes:
        yield from _classes(derived)


def _says_itself(provider_class: type) -> bool:
    own = (c for c in provider_class.__mro__ if c.__module__ != providers.__name__ and c is not object)
    return any("__reduce__" in vars(c) or "__reduce_ex__" in vars(c) for c in own)


def _reducer_for(provider_class: type) -> Any:
    return _reduce_option if issubclass(provider_class, providers.ConfigurationOption) else _reduce


def _reduce(provider: Any) -> Reduced:
    declared_at = path_of(provider)
    if declared_at is not None and (sent := _sent_as(declared_at.container)) is not None:
        return _referred_to, (sent, declared_at.path)
    container, path = (None, "") if declared_at is None else declared_at
    state = provider_state.read(provider)
    _register_kinds_of((*provider.related, *state.declared.get("in_order", ())))
    # Made empty, remembered by pickle, then filled: providers may refer to each other in circles. In one flat tuple,
    # because each level that nests takes of Python's stack, and long chains need it.
    return _empty, (type(provider), container, path), (container, path, *state), None, None, _fill


def _sent_as(container: ContainerClass) -> ContainerClass | SentClass | None:
    """What is pickled for a container class, where that is no more than a reference to it."""
    return container if is_importable(container) else standing_for(container)


def _register_kinds_of(others: Iterable[AnyProvider]) -> None:
    """Register once more where a provider that is pickled next is of a class which is not known yet."""
    if any(type(other) not in copyreg.dispatch_table for other in others):
        register()


def _referred_to(container: ContainerClass, path: str) -> AnyProvider:
    found = provider_at(container, path)
    if found is None:
        raise LifespanError(
            f"{qualified_name(container)} declares no {path!r} in this process, but did where it was pickled; both must "
            "run the same code"
        )
    return found


def _empty(provider_class: type, container: ContainerClass | None, path: str) -> AnyProvider:
    if container is None:
        return provider_state.empty(provider_class)
    return classes_by_value.to_be_filled(provider_class, container, path)


def _fill(provider: Any, sent: tuple[ContainerClass | None, str, Declared, tuple[Any, ...], Any]) -> None:
    container, path, declared, overriding, attributes = sent
    state = ProviderState(declared, overriding, attributes)
    write = functools.partial(provider_state.write, provider, state)
    if container is None:
        write()
        return
    is_its_self = is_kind(provider, providers.Self) and provider_at(container, path) is provider
    if is_its_self:  # made with the class, and knows the class alone
        provider.set_alt_names(declared["alt_names"])
    else:
        classes_by_value.fill(provider, container, path, write)


def _reduce_option(option: Any) -> Reduced:
    declared_at = path_of(option)
    if declared_at is not None and (sent := _sent_as(declared_at.container)) is not None:
        return _referred_to, (sent, declared_at.path)
    return _option, (root_of(option), option.get_name_segments(), option.is_required())


def _option(root: Any, segments: tuple[Any, ...], required: bool) -> Any:
    first, *others = segments
    option = getattr(root, first)  # `root[first]` raises TypeError for one that nobody has asked for yet
    for segment in others:
        option = option[segment]
    return option.required() if required else option


def _copied(provider: Any) -> Any:
    """A shallow copy: of what it is made of, like what arrives elsewhere, and referring to the same providers."""
    if is_kind(provider, providers.ConfigurationOption):
        return type(provider)(provider.get_name_segments(), root_of(provider), required=provider.is_required())
    copied = provider_state.empty(type(provider))
    provider_state.write(copied, provider_state.read(provider))
    return copied


register()
# Which has classes of its own.
when_imported("prefect_lifespan.engine.engine", lambda _: register())
