"""Container classes that come by value: one of each provider in a process, however often and to whom the class comes.

cloudpickle recreates a class of `__main__`, of a function or of a notebook once in a process, and sets its attributes
each time it arrives: were they other providers each time, markers and open lifespans would stand on ones that the class
no longer has. Until the class has arrived for the first time it has none yet, and several threads may be unpickling it,
as those of a Dask worker do: what they make meanwhile is kept beside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

from dependency_injector import containers

from prefect_lifespan.graph.anchors import container_classes
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass, graph_of
from prefect_lifespan.managers import manager
from prefect_lifespan.provider_pickling import provider_state
from prefect_lifespan.provider_pickling.by_name import is_found_by_name
from prefect_lifespan.provider_pickling.provider_paths import provider_at
from prefect_lifespan.signal_safe import under

_UNPICKLED = "__prefect_lifespan_unpickled__"
# Reentrant: to fill one provider may unpickle a class, with providers of its own.
_lock = threading.RLock()
_refilled: ContextVar[tuple[type, ...]] = ContextVar("prefect_lifespan_refilled", default=())
_kept: ContextVar[set[ContainerClass]] = ContextVar("prefect_lifespan_kept")


class UnpickledProviders:
    """The providers of one class that were unpickled so far.

    An attribute of the class, as a graph is, so that it lives and dies with it.
    """

    def __init__(self, container: ContainerClass) -> None:
        self.by_path: dict[str, AnyProvider] = {}
        self.filled: set[str] = set()
        self._container = container

    def __reduce__(self) -> tuple[Callable[[ContainerClass], UnpickledProviders], tuple[ContainerClass]]:
        return _of, (self._container,)  # where the class goes on to, and comes back from, it has those of that process


def _of(container: ContainerClass) -> UnpickledProviders:
    return under(_lock, _made_of, container)


def _made_of(container: ContainerClass) -> UnpickledProviders:
    found = container.__dict__.get(_UNPICKLED)
    if not isinstance(found, UnpickledProviders):
        found = UnpickledProviders(container)
        setattr(container, _UNPICKLED, found)
    return found


def to_be_filled(provider_class: Any, container: ContainerClass, path: str) -> Any:
    """The provider that this process has already for a path of a class, or an empty one that is still to be filled."""
    return under(_lock, _to_be_filled, provider_class, container, path)


def _to_be_filled(provider_class: Any, container: ContainerClass, path: str) -> Any:
    known = _declared(container, path) or _of(container).by_path.get(path)
    if known is None:
        known = _of(container).by_path[path] = provider_state.empty(provider_class)
    return known if type(known) is provider_class else provider_state.empty(provider_class)


def fill(provider: Any, container: ContainerClass, path: str, write: Callable[[], None]) -> None:
    """Fill a provider that has arrived.

    One that the class has, or another thread has filled, stays as it is, unless the class is refilled.
    """
    under(_lock, _fill, provider, container, path, write)


def _fill(provider: Any, container: ContainerClass, path: str, write: Callable[[], None]) -> None:
    is_there = _declared(container, path) is provider
    if is_there and path in _of(container).filled:
        if container in _refilled.get():
            provider.reset_override()
            write()
        else:
            _kept.get(set()).add(container)
    if is_there:
        return
    unpickled = _of(container)
    if unpickled.by_path.get(path) is not provider:
        write()
    elif path not in unpickled.filled:
        write()
        unpickled.filled.add(path)


@manager
def refilling(container: ContainerClass) -> Generator[None]:
    """Let a class that came from another process, and comes again in the body, become what it is there by now.

    And what it derives from, which comes with it.
    """
    token = _refilled.set(container.__mro__)
    try:
        yield
    finally:
        _refilled.reset(token)


@manager
def keeping() -> Generator[set[ContainerClass]]:
    """The classes that come in the body, had come from another process before, and so stay as they are."""
    kept: set[ContainerClass] = set()
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def _declared(container: Any, path: str) -> AnyProvider | None:
    """What a class declares itself.

    Until it has arrived whole, it has what it inherits in the place of what it declares anew: that is not it.
    """
    found = provider_at(container, path)
    inherited = (provider_at(base, path) for base in container.__bases__ if hasattr(base, "providers"))
    return None if found is None or any(found is each for each in inherited) else found


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
