"""Who stands between the engine and the initialisers that it calls, whatever these are and wherever they come from.

That is what tests let fail. As observers do, interceptors see every lifespan of the process, in whatever thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from prefect_lifespan.forks import children
from prefect_lifespan.signal_safe import under

if TYPE_CHECKING:
    from prefect_lifespan.graph import Node

Call = Callable[[], object]


class Interceptor(Protocol):
    """Does something around the opening of some resources."""

    def concerns(self, engine: Any, node: Node) -> bool:
        """Whether it is this resource's."""
        ...

    def intercept(self, engine: Any, node: Node, call: Call) -> Call:
        """What is called in place of the initialiser; what it returns is to be of the same kind."""
        ...


class Interceptors:
    """The interceptors in force."""

    def __init__(self) -> None:
        self._entered: tuple[Interceptor, ...] = ()
        self._lock = threading.Lock()

    @property
    def are_there(self) -> bool:
        """Whether any is in force."""
        return bool(self._entered)

    def begin_anew(self) -> None:
        """In a forked child: the same are in force, and nobody holds the lock."""
        self._lock = threading.Lock()

    def add(self, interceptor: Interceptor) -> None:
        """Let one be in force, until it has been taken back as often."""
        under(self._lock, self._add, interceptor)

    def _add(self, interceptor: Interceptor) -> None:
        self._entered = (*self._entered, interceptor)

    def remove(self, interceptor: Interceptor) -> None:
        """Take back one adding."""
        under(self._lock, self._remove, interceptor)

    def _remove(self, interceptor: Interceptor) -> None:
        left = list(self._entered)
        left.remove(interceptor)
        self._entered = tuple(left)

    def concern(self, engine: Any, node: Node) -> bool:
        """Whether any is this resource's."""
        return any(interceptor.concerns(engine, node) for interceptor in self._entered)

    def around(self, managed: Any, call: Call) -> Call:
        """The call that opens a managed resource, with those that concern it around it; each once, the last outermost."""
        for interceptor in dict.fromkeys(self._entered):
            engine, node = managed.engine, managed.slot.node
            if interceptor.concerns(engine, node):
                call = interceptor.intercept(engine, node, call)
        return call


interceptors: Interceptors = Interceptors()
children.begin_with(interceptors)
