"""What the benchmarks share: fair rounds, medians, and tables that read the same in a terminal and in a log file.

Noise on a machine comes and goes. So that it hits every competitor alike, each round times all of them once, in an
order that changes from round to round, and a figure is the median of its rounds.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import random
import statistics
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import repeat
from time import perf_counter_ns
from typing import Any, cast

from dependency_injector import containers

NOT_INSTALLED = "not installed"

ContainerClass = type[containers.DeclarativeContainer]

_CALIBRATION_CALLS = 200


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from running inside a measurement, as `timeit` does."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _ns_per_call(call: Callable[[int], object], calls: int) -> float:
    start = perf_counter_ns()
    for _ in repeat(None, calls):
        call(1)
    return (perf_counter_ns() - start) / calls


async def _ns_per_awaited_call(call: Callable[[int], Awaitable[object]], calls: int) -> float:
    start = perf_counter_ns()
    for _ in repeat(None, calls):
        await call(1)
    return (perf_counter_ns() - start) / calls


async def median_ns(
    contestants: Mapping[str, Callable[[int], Any]], *, is_async: bool, rounds: int, batch_ms: float
) -> dict[str, float]:
    """The median nanoseconds of one `call(1)` (awaited if `is_async`) for each contestant.

    Each round times one batch of every contestant; a batch has as many calls as fill about `batch_ms` milliseconds.
    """

    async def measure(call: Callable[[int], Any], calls: int) -> float:
        return await _ns_per_awaited_call(call, calls) if is_async else _ns_per_call(call, calls)

    shuffler = random.Random(0)
    order = list(contestants)
    samples: dict[str, list[float]] = {name: [] for name in order}
    with quiet_collector():
        batches: dict[str, int] = {}
        for name, call in contestants.items():
            await measure(call, 1)  # what happens once, such as filling a cache, is not the cost of a call
            rough = await measure(call, _CALIBRATION_CALLS if batch_ms >= 0.1 else 1)
            batches[name] = max(1, int(batch_ms * 1e6 / rough))
        for _ in range(rounds):
            shuffler.shuffle(order)
            for name in order:
                samples[name].append(await measure(contestants[name], batches[name]))
            gc.collect(0)
    return {name: statistics.median(values) for name, values in samples.items()}


def declare(name: str, body: Mapping[str, object]) -> ContainerClass:
    """A container class whose providers are only known at run time."""
    created = types.new_class(name, (containers.DeclarativeContainer,), {}, lambda namespace: namespace.update(body))
    return cast("ContainerClass", created)


def table(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain aligned text: the first column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([title, "", line(headers), rule, *(line(row) for row in rows), ""])


def duration(seconds: float) -> str:
    """A duration with a unit that suits it, three digits that mean something."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        value = seconds * factor
        if value >= 1 or unit == "us":
            digits = 2 if value < 10 else 1 if value < 100 else 0
            return f"{value:.{digits}f} {unit}"
    raise AssertionError("unreachable")


def ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}x"


def surroundings(*distributions: str) -> str:
    """One line that says where the figures below come from: interpreter, processors, versions."""
    parts = [f"Python {platform.python_version()}", f"{os.cpu_count()} CPUs"]
    for name in distributions:
        try:
            parts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"{name} {NOT_INSTALLED}")
    return ", ".join(parts)
