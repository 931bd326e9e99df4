"""`Faults`: lets the opening or closing of a container's own resources fail or take its time, now or the n-th time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from dependency_injector import providers

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Graph, graph_of
from prefect_lifespan.graph.edges import AnyProvider, overriding_of
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.layers import did_you_mean
from prefect_lifespan.overriding import override
from prefect_lifespan.scope import current_scope
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

    A resource is opened by its own initialiser with its own arguments and policy, after what is to happen before it. An
    opening fails before the initialiser is called, a closing when the resource has closed. Where an override stands in
    for a resource, its initialiser is the one that is used.

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
        self._entered: list[override] = []

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
        _resource_at(graph_of(self._container), path, {})
        self._faults.setdefault(path, []).append(fault)
        return self

    def __enter__(self) -> Self:
        graph, overridden = graph_of(self._container), current_scope().overrides_for(self._container)
        faulty = {path: surrounded(_resource_at(graph, path, overridden), Struck(self, path)) for path in self._faults}
        entered = override(self._container, faulty)
        entered.__enter__()
        self._entered.append(entered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, traceback)

    def due(self, path: str, step: Step) -> list[Fault]:
        """The faults that strike now; counts one time more."""
        with self._lock:
            self._counts[path, step] += 1
            count = self._counts[path, step]
        return [fault for fault in self._faults[path] if fault.step == step and fault.nth in (None, count)]


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


def _resource_at(graph: Graph, path: str, overridden: Any) -> providers.BaseResource[Any]:
    """The resource that opens at a path: the declared one, or the one that stands in for it."""
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
    return provider
