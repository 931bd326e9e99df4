"""Where a provider stands: the container class that declares it by name, and its path there.

A provider travels by its place, so that what arrives is the one that the other process declares itself.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from dependency_injector import containers

from prefect_lifespan.graph.anchors import container_classes
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider, children_of, is_kind
from prefect_lifespan.graph.reader import ContainerClass, declared_in, graph_of

_SELF = "__self__"


class Place(NamedTuple):
    """A container class, and the dotted path of a provider in it."""

    container: ContainerClass
    path: str


def place_of(provider: AnyProvider) -> Place | None:
    """Where a container class declares a provider by name: the most basic class, where others inherit it.

    None for one that is written in place, and for those of a container instance.
    """
    for container in container_classes(containers.DeclarativeContainer):
        path = _paths_of(container).get(id(provider))
        if path is not None:
            return Place(container, path)
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


def is_importable(defined: Any) -> bool:
    """Whether another process finds a class or function under its own name, and cloudpickle sends no more than that."""
    module: str = defined.__module__
    parents = {module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)}
    return module != "__main__" and is_found_by_name(defined) and parents.isdisjoint(_sent_by_value())


def is_found_by_name(defined: Any) -> bool:
    """Whether its module has a class or function under its own name, as pickle demands."""
    try:
        return functools.reduce(getattr, defined.__qualname__.split("."), sys.modules[defined.__module__]) is defined
    except (AttributeError, KeyError):
        return False


def as_declared_here(container: ContainerClass) -> ContainerClass:
    """What this process's own code declares as a container class that came from the `__main__` of another one.

    A task worker that serves a script has its tasks, and what their markers name, from its own `__main__`, or from the
    script as a module. The class itself where nothing, or more than one, is declared as it was.
    """
    if container.__module__ != "__main__":
        return container
    name, paths = container.__qualname__, graph_of(container).by_path.keys()
    own = [
        declared
        for declared in container_classes(containers.DeclarativeContainer)
        if declared.__qualname__ == name
        and (declared.__module__ != "__main__" or is_found_by_name(declared))
        and graph_of(declared).by_path.keys() == paths
    ]
    own = [declared for declared in own if declared.__module__ == "__main__"] or own
    return own[0] if len(own) == 1 else container


def _sent_by_value() -> set[str]:
    """The modules of which a user said that cloudpickle sends their classes whole."""
    registered: Any = cloudpickle
    return registered.list_registry_pickle_by_value()


class _Paths(NamedTuple):
    """The paths of all that a class declares, by identity; they hold while `stamp` is what `_stamp` says."""

    by_id: dict[int, str]
    sub_containers: tuple[str, ...]
    stamp: list[int]


def _paths_of(container: ContainerClass) -> dict[int, str]:
    paths = _PATHS.get(container)
    if paths is None or paths.stamp != _stamp(container, paths.sub_containers):
        declared = list(declared_in(container.providers))
        by_id = {id(provider): path for path, provider in reversed(declared)}  # the first of two names
        by_id[id(container.__dict__[_SELF])] = _SELF
        sub_containers = tuple(path for path, provider in declared if is_kind(provider, SUB_CONTAINERS))
        paths = _PATHS[container] = _Paths(by_id, sub_containers, _stamp(container, sub_containers))
    return paths.by_id


def _stamp(container: ContainerClass, sub_containers: tuple[str, ...]) -> list[int]:
    """The identities of all that is declared by name: whatever is of one of them now is that provider."""
    inner = (provider_at(container, path) for path in sub_containers)
    return [*map(id, container.providers.values()), *(id(p) for sub in inner for p in children_of(sub).values())]


# Without providers: to hold one would keep its class alive.
_PATHS: WeakKeyDictionary[ContainerClass, _Paths] = WeakKeyDictionary()
