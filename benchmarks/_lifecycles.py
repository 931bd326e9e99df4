"""The contestants of `open_close`: containers of n resources, and how the stock and ours open and close them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol

from dependency_injector import providers

from benchmarks._harness import ContainerClass, declare
from prefect_lifespan import lifespan


class Lifecycle(Protocol):
    """How one contestant opens and closes a container class."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Tally:
    """How many resources are open just now: closing that leaves some open would be fast for nothing."""

    open = 0


def open_one(*needs: object) -> Iterator[object]:
    Tally.open += 1
    yield object()
    Tally.open -= 1


async def open_one_async(*needs: object) -> AsyncIterator[object]:
    Tally.open += 1
    yield object()
    Tally.open -= 1


async def open_slowly(opening: float, closing: float, *needs: object) -> AsyncIterator[object]:
    await asyncio.sleep(opening)
    Tally.open += 1
    yield object()
    await asyncio.sleep(closing)
    Tally.open -= 1


# How many of the resources before it one may need: all of the layer below, which is so wide.
SHAPES = {"independent": 0, "chained": 1, "layered": 10}


def container_of(count: int, *, shape: str, is_async: bool) -> ContainerClass:
    """`count` resources that do nothing, of one of the `SHAPES`."""
    opener, width = open_one_async if is_async else open_one, SHAPES[shape]
    resources: list[Any] = []
    for number in range(count):
        layer = number // width * width if width else 0
        resources.append(providers.Resource(opener, *resources[max(0, layer - width) : layer]))
    return declare("Measured", {f"r{number:04}": resource for number, resource in enumerate(resources)})


def slow_container(unit: float) -> ContainerClass:
    """Two pairs whose closings overlap only if each resource closes as soon as its own dependant has closed.

    By levels: max(1, 3) + max(3, 1) = 6 units of time. By the graph: max(1 + 3, 3 + 1) = 4 units.
    Opening is two levels of 1 unit either way. A unit is in seconds.
    """
    base_a = providers.Resource(open_slowly, unit, 3 * unit)
    base_b = providers.Resource(open_slowly, unit, unit)
    top_a = providers.Resource(open_slowly, unit, unit, base_a)
    top_b = providers.Resource(open_slowly, unit, 3 * unit, base_b)
    return declare("Measured", {"base_a": base_a, "base_b": base_b, "top_a": top_a, "top_b": top_b})


async def _settled(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


class Stock:
    """dependency-injector as it is: an instance, `init_resources`, `shutdown_resources`."""

    def __init__(self, container: ContainerClass, *, is_async: bool) -> None:
        self._declared = container

    async def open(self) -> None:
        self._container = self._declared()
        await _settled(self._container.init_resources())

    async def close(self) -> None:
        await _settled(self._container.shutdown_resources())


class Ours:
    """`with lifespan(C)`, or `async with` where resources are asynchronous."""

    def __init__(self, container: ContainerClass, *, is_async: bool) -> None:
        self._declared = container
        self._is_async = is_async

    async def open(self) -> None:
        self._lifespan: Any = lifespan(self._declared)
        if self._is_async:
            await self._lifespan.__aenter__()
        else:
            self._lifespan.__enter__()

    async def close(self) -> None:
        if self._is_async:
            await self._lifespan.__aexit__(None, None, None)
        else:
            self._lifespan.__exit__(None, None, None)
