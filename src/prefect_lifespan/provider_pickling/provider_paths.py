"""Provider paths: the container class that declares a provider by name, and the dotted path that it has there.

A provider of a class that can be imported travels by its path, so that what arrives is the one that the other process
declares itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from dependency_injector import containers

from prefect_lifespan.graph.anchors import container_classes
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider, children_of, is_kind
from prefect_lifespan.graph.reader import ContainerClass, declared_in

_SELF = "__self__"


class ProviderPath(NamedTuple):
    """A container class, and the dotted path of a provider in it."""

    container: ContainerClass
    path: str


def path_of(provider: AnyProvider) -> ProviderPath | None:
    """Where a container class declares a provider by name: the most basic class, where others inherit it.

    None for one that is written in place, and for those of a container instance.
    """
    known = _FOUND.get(id(provider))
    if known is not None and (container := known[0]()) is not None and provider_at(container, known[1]) is provider:
        return ProviderPath(container, known[1])
    for container in container_classes(containers.DeclarativeContainer):
        path = _paths_of(container).get(id(provider))
        if path is not None:
            if len(_FOUND) >= _MOST_FOUND:
                _FOUND.clear()
            _FOUND[id(provider)] = (ref(container), path)
            return ProviderPath(container, path)
    return None


def provider_at(container: ContainerClass, path: str) -> AnyProvider | None:
    """What a container class declares under a path; None where it declares nothing there."""
    if path == _SELF:
        return container.__dict__.get(_SELF)
    first, *inner = path.split(".")
    found: AnyProvider | None = container.providers.get(first)
    for name in inner:
        found = None if found is None else children_of(found).get(name)
    return found


class _Paths(NamedTuple):
    """The paths of all that a class declares, by identity; they hold while `stamp` is what `_stamp` says."""

    by_id: dict[int, str]
    sub_containers: tuple[str, ...]
    stamp: list[int]


def _paths_of(container: ContainerClass) -> dict[int, str]:
    # Kept, because each provider that is pickled asks every container class for its own.
    paths = _PATHS.get(container)
    if paths is None or paths.stamp != _stamp(container, paths.sub_containers):
        declared = list(declared_in(container.providers))
        by_id = {id(provider): path for path, provider in reversed(declared)}  # the first of two names
        by_id[id(container.__dict__[_SELF])] = _SELF
        sub_containers = tuple(path for path, provider in declared if is_kind(provider, SUB_CONTAINERS))
        paths = _PATHS[container] = _Paths(by_id, sub_containers, _stamp(container, sub_containers))
    return paths.by_id


def _stamp(container: ContainerClass, sub_containers: tuple[str, ...]) -> list[int]:
    """The identities of all that is declared by name: whatever is of one of them now is that provider.

    An identity may be that of another object as soon as the first one has gone; a class that still declares it has not
    let it go.
    """
    inner = (provider_at(container, path) for path in sub_containers)
    return [*map(id, container.providers.values()), *(id(p) for sub in inner for p in children_of(sub).values())]


# Where providers were found last, by identity. It holds where the class still declares that one there: not every class has
# to be looked through for each provider that is pickled.
_MOST_FOUND = 10_000
_FOUND: dict[int, tuple[ref[Any], str]] = {}
# Without providers: to hold one would keep its class alive.
_PATHS: WeakKeyDictionary[ContainerClass, _Paths] = WeakKeyDictionary()
