"""`Faults`: lets the opening or closing of a container's own resources fail or take its time, now or the n-th time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from dependency_injector import providers

from prefect_lifespan.engine import Engine, interceptors
from prefect_lifespan.engine.initialiser import Call
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Graph, Node, graph_of
from prefect_lifespan.graph.edges import AnyProvider, overriding_of
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.overrides import did_you_mean
from prefect_lifespan.scope import current_scope
from prefect_lifespan.signal_safe import under
from prefect_lifespan.testing.belonging import is_of
from prefect_lifespan.testing.faulty import surrounded

Step = Literal["open", "close"]


class InjectedFault(Exception):
    """What an injected fault raises, where it was given nothing else to raise."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one step of one resource: a delay, an error, or both; the n-th time, or each time."""

    step: Step
    nth: int | None
    seconds: float = 0.0
    error: BaseException | type[BaseException] | None = None
    then: Callable[[], None] = lambda: None

    def strike(self) -> None:
        """Raise the error, if there is one."""
        self.then()
        if self.error is not None:
            raise self.error


class Faults:
    """Faults in a user's own container, in force while this is entered; what is injected stays the real thing.

    They strike at the moment of opening, around whatever initialiser opens the resource there: its own, or that of
    what stands in for it, by an override, by the lifespan's own overrides, or in a container that derives from this
    one. An opening fails before the initialiser is called. A closing fails when the resource has closed, where it was
    opened while this was entered.

    They are in force for the whole process, whatever thread, task or context opens the resource, until this has been
    left as often as it was entered. So they are for tests, of which a process runs one at a time.

    Args:
        container: the container class.

    Raises:
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import lifespan
        >>> from prefect_lifespan.testing import Faults, recording
        >>> class App(containers.DeclarativeContainer):
        ...     url = providers.Resource(lambda: "sqlite://")
        ...     db = providers.Resource("connection to {}".format, url)
        >>> with Faults(App).fail("db", "open", error=ConnectionError("down")), recording(App) as record:
        ...     try:
        ...         with lifespan(App):
        ...             print("never reached")
        ...     except ConnectionError:
        ...         print(record.opened, record.closed)
        ['url'] ['url']
    """

    def __init__(self, container: ContainerClass) -> None:
        self._container = require_container(container)
        self._faults: dict[str, list[Fault]] = {}
        self._counts: Counter[tuple[str, Step]] = Counter()
        self._lock = threading.Lock()

    def fail(
        self,
        path: str,
        step: Step,
        *,
        error: BaseException | type[BaseException] | None = None,
        nth: int | None = None,
    ) -> Self:
        """Let a resource's opening or closing fail.

        Args:
            path: the resource, as overrides name it: "db", "gateways.api".
            step: "open" or "close".
            error: what is raised; an `InjectedFault` without.
            nth: only the n-th time, counted from one, over all runs in which this is in force; each time without.

        Raises:
            UsageError: a path that the container does not declare, or that is no resource.
            ValueError: a step or a number that there is not.
        """
        text = f"an injected fault: {path} does not {step}"
        return self.add(path, Fault(step, nth, error=InjectedFault(text) if error is None else error))

    def delay(self, path: str, step: Step, seconds: float, *, nth: int | None = None) -> Self:
        """Let a resource's opening or closing take longer; blocking resources block, asynchronous ones wait.

        Args:
            path: the resource, as overrides name it.
            step: "open" or "close".
            seconds: how much longer.
            nth: only the n-th time; each time without.

        Raises:
            UsageError: a path that the container does not declare, or that is no resource.
            ValueError: a step or a number that there is not.
        """
        return self.add(path, Fault(step, nth, seconds=seconds))

    def add(self, path: str, fault: Fault) -> Self:
        """The same for any fault."""
        if fault.step not in ("open", "close"):
            raise ValueError(f"step is {fault.step!r}; it must be 'open' or 'close'")
        if fault.nth is not None and fault.nth < 1:
            raise ValueError(f"nth is {fault.nth!r}; the first time is 1")
        if fault.seconds < 0:
            raise ValueError(f"seconds is {fault.seconds!r}; it must be zero or more")
        _require_resource(graph_of(self._container), path, {})
        self._faults.setdefault(path, []).append(fault)
        return self

    def __enter__(self) -> Self:
        graph, overridden = graph_of(self._container), current_scope().overrides_for(self._container)
        for path in self._faults:
            _require_resource(graph, path, overridden)
        interceptors.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        interceptors.remove(self)

    def concerns(self, engine: Engine, node: Node) -> bool:
        """Whether a resource has faults: it is declared under one of our paths, or stands in there."""
        return self._path_of(engine, node) is not None

    def intercept(self, engine: Engine, node: Node, call: Call) -> Call:
        """The call of its initialiser, whichever that is, with the faults around it."""
        path = self._path_of(engine, node)
        return call if path is None else surrounded(call, Struck(self, path), is_async=node.is_async)

    def _path_of(self, engine: Engine, node: Node) -> str | None:
        if not is_of(self._container, engine, node):
            return None
        # One that derives may declare a resource anew, and still reach the one that it has inherited.
        graphs = (engine.graph, graph_of(self._container))
        keys = {path: [graph.by_path[path] for graph in graphs if path in graph.by_path] for path in self._faults}
        return next((path for path in keys if node.key in (_in_use(engine.graph, key) for key in keys[path])), None)

    def due(self, path: str, step: Step) -> list[Fault]:
        """The faults that strike now; counts one time more."""
        count = under(self._lock, self._count, path, step)
        return [fault for fault in self._faults[path] if fault.step == step and fault.nth in (None, count)]

    def _count(self, path: str, step: Step) -> int:
        self._counts[path, step] += 1
        return self._counts[path, step]


class Struck:
    """What faults do around one resource."""

    def __init__(self, faults: Faults, path: str) -> None:
        self._faults = faults
        self._path = path

    def opening(self) -> None:
        """Before it is opened."""
        self._strike("open")

    async def aopening(self) -> None:
        """The same on an event loop."""
        await self._astrike("open")

    def closing(self) -> None:
        """After it has closed."""
        self._strike("close")

    async def aclosing(self) -> None:
        """The same on an event loop."""
        await self._astrike("close")

    def _strike(self, step: Step) -> None:
        for fault in self._faults.due(self._path, step):
            time.sleep(fault.seconds)
            fault.strike()

    async def _astrike(self, step: Step) -> None:
        for fault in self._faults.due(self._path, step):
            if fault.seconds:
                await asyncio.sleep(fault.seconds)
            fault.strike()


def _in_use(graph: Graph, key: int) -> int:
    """What stands in for a provider in the end; the provider itself, where nothing does."""
    while key in graph.nodes and graph.nodes[key].overridden:
        key = graph.nodes[key].edges[0].target
    return key


def _require_resource(graph: Graph, path: str, overridden: Mapping[int, AnyProvider]) -> None:
    """A resource is declared at the path, or stands in there."""
    key = graph.by_path.get(path)
    if key is None:
        raise UsageError(f"{graph.container} has no resource {path!r} to fail{did_you_mean(path, graph)}")
    provider: AnyProvider = overridden.get(key, graph.nodes[key].provider)
    while (standing_in := overriding_of(provider)) is not None:
        provider = standing_in
    if not isinstance(provider, providers.BaseResource):
        raise UsageError(
            f"{graph.container}.{path} is a {type(provider).__name__} here, which neither opens nor closes: "
            "faults are for resources"
        )
