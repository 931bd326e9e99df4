"""Providers of a container class that comes by value: one of each in a process, however often and to whom it comes.

cloudpickle recreates such a class once in a process, and sets its attributes each time it arrives: were they other
providers each time, markers and open lifespans would stand on ones that the class no longer has. Until it has arrived
for the first time it has none yet, and several threads may be unpickling it: what they make meanwhile is kept beside.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.workers import makings
from prefect_lifespan.workers.places import provider_at

_ARRIVALS = "__prefect_lifespan_arrivals__"
_lock = threading.RLock()


class Arrivals:
    """What has been made of one class so far. An attribute of it, as a graph is, so that it lives and dies with it."""

    def __init__(self, container: ContainerClass) -> None:
        self.made: dict[str, AnyProvider] = {}
        self.filled: set[str] = set()
        self._container = container

    def __reduce__(self) -> tuple[Callable[[ContainerClass], Arrivals], tuple[ContainerClass]]:
        return _of, (self._container,)  # where the class goes on to, and comes back from, it has those of that process


def _of(container: ContainerClass) -> Arrivals:
    with _lock:
        found = container.__dict__.get(_ARRIVALS)
        if not isinstance(found, Arrivals):
            found = Arrivals(container)
            setattr(container, _ARRIVALS, found)
        return found


def arriving(provider_class: Any, container: ContainerClass, path: str) -> Any:
    """The provider that this process has already for a path of a class, or one that is still to be filled."""
    with _lock:
        known = _declared(container, path) or _of(container).made.get(path)
        if known is None:
            known = _of(container).made[path] = makings.empty(provider_class)
        return known if type(known) is provider_class else makings.empty(provider_class)


def fill(provider: Any, container: ContainerClass, path: str, write: Callable[[], None]) -> None:
    """Fill a provider that has arrived; one that the class has, or another thread has filled, stays as it is."""
    with _lock:
        if _declared(container, path) is provider:
            return
        arrivals = _of(container)
        if arrivals.made.get(path) is not provider:
            write()
        elif path not in arrivals.filled:
            write()
            arrivals.filled.add(path)


def _declared(container: Any, path: str) -> AnyProvider | None:
    """What a class declares itself: until it has arrived it has what it inherits in the place of what it declares anew."""
    found = provider_at(container, path)
    inherited = (provider_at(base, path) for base in container.__bases__ if hasattr(base, "providers"))
    return None if found is None or any(found is each for each in inherited) else found
