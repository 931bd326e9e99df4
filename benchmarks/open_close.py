"""What opening and closing n resources costs, against the stock calls: `python -m benchmarks.open_close`.

Targets of the library: time grows in proportion to n, and a chain of 1000 opens and closes in under 0.2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter, process_time

from benchmarks._harness import duration, quiet_collector, ratio, surroundings, table
from benchmarks._lifecycles import SHAPES, ContainerClass, Lifecycle, Ours, Stock, Tally, container_of, slow_container

SKIPPED = "skipped"
PROBE = 10  # so many resources tell how long more of them may take the stock


@dataclass(frozen=True)
class Timing:
    """Seconds: `opening` includes making the container instance; `processor` is the processor time of that."""

    opening: float
    closing: float | None
    processor: float


async def time_one(lifecycle: Lifecycle, *, closes: bool = True) -> Timing:
    """Open and close once, the collector kept quiet; an error if that left resources open, unless it is not to close them."""
    with quiet_collector():
        start, processor = perf_counter(), process_time()
        await lifecycle.open()
        opened, processor = perf_counter(), process_time() - processor
        if closes:
            await lifecycle.close()
        closed = perf_counter()
    if closes and Tally.open:
        raise RuntimeError(f"{type(lifecycle).__name__} left {Tally.open} resources open")
    return Timing(opened - start, closed - opened if closes else None, processor)


@dataclass
class Budget:
    """Seconds that one closing of the stock may take; a size that is expected to need more is skipped.

    The expectation is the last measured time (`last`: of how many resources, seconds), scaled by the cube of the growth
    of n for chains and layers and by its square for independent resources. It is never printed as a figure.
    """

    seconds: float
    exponent: int
    last: tuple[int, float]

    def allows(self, count: int) -> bool:
        last_count, last_seconds = self.last
        return last_seconds * (count / last_count) ** self.exponent <= self.seconds


def _cells(timing: Timing | None, count: int) -> list[str]:
    if timing is None:
        return ["RecursionError", "-"]
    if timing.closing is None:
        return [f"{duration(timing.opening)} + {SKIPPED}", SKIPPED]
    per_resource = (timing.opening + timing.closing) / count
    return [f"{duration(timing.opening)} + {duration(timing.closing)}", duration(per_resource)]


async def scaling(sizes: Sequence[int], *, repeats: int, stock_seconds: float) -> str:
    """Opening + closing by size, shape and kind; the stock side stops where a closing would take too long."""
    rows: list[list[str]] = []
    for is_async, shape in itertools.product((False, True), SHAPES):
        probe = await time_one(Stock(container_of(PROBE, shape=shape, is_async=is_async), is_async=is_async))
        budget = Budget(stock_seconds, exponent=2 if shape == "independent" else 3, last=(PROBE, probe.closing or 0.0))
        for count in sizes:
            container = container_of(count, shape=shape, is_async=is_async)
            closes = budget.allows(count)
            first = await time_one(Ours(container, is_async=is_async))
            ours, stock = await _time_both(container, is_async=is_async, repeats=repeats, stock_closes=closes)
            if stock is not None and stock.closing is not None:
                budget.last = (count, stock.closing)
            rows.append(
                [
                    f"{'async' if is_async else 'sync'}, {shape}, n = {count}",
                    *(*_cells(stock, count), *_cells(ours, count)),
                    "-" if stock is None else ratio(ours.processor, stock.processor),
                    duration(first.opening + (first.closing or 0.0)),
                ]
            )
    headers = [
        "resources",
        "stock: open + close",
        "each",
        "prefect-lifespan: open + close",
        "each",
        "opening, ours / stock",
        "first time, both",
    ]
    title = f"Opening + closing (skipped: expected to take the stock more than {stock_seconds:g} s to close)"
    return table(title, headers, rows)


async def _time_both(
    container: ContainerClass, *, is_async: bool, repeats: int, stock_closes: bool
) -> tuple[Timing, Timing | None]:
    """Ours and the stock by turns: of each the one that opened in the least processor time. The stock closes once.

    It opens in any order, and what a resource needs by calling that: None where a chain is longer than Python's stack.
    """
    ours: list[Timing] = []
    stock: list[Timing] = []
    for number in range(max(1, repeats)):
        ours.append(await time_one(Ours(container, is_async=is_async)))
        closes = stock_closes and number == 0
        with suppress(RecursionError):
            stock.append(await time_one(Stock(container, is_async=is_async), closes=closes))
        Tally.open = 0
    best = min(ours, key=lambda timing: timing.processor)
    if not stock:
        return best, None
    least = min(stock, key=lambda timing: timing.processor)
    return best, Timing(least.opening, stock[0].closing, least.processor)


async def concurrency(unit: float) -> str:
    """How long it takes where resources wait, as real ones do."""
    rows: list[list[str]] = []
    contestants: dict[str, Callable[..., Lifecycle]] = {"stock": Stock, "prefect-lifespan": Ours}
    for name, contestant in contestants.items():
        timing = await time_one(contestant(slow_container(unit), is_async=True))
        rows.append([name, duration(timing.opening), duration(timing.closing or 0.0)])
    rows.append(["what the graph allows", duration(2 * unit), duration(4 * unit)])
    short, long = duration(unit), duration(3 * unit)
    title = f"Two chains of two that wait: opening {short} each; closing {short} then {long}, and {long} then {short}"
    return table(title, ["async resources", "open", "close"], rows)


async def memory(count: int) -> str:
    """Bytes of one open resource, by tracemalloc, once the class has been opened before."""
    rows: list[list[str]] = []
    for is_async in (False, True):
        container = container_of(count, shape="independent", is_async=is_async)
        stock_bytes = await _bytes_per_resource(partial(Stock, container, is_async=is_async), count)
        our_bytes = await _bytes_per_resource(partial(Ours, container, is_async=is_async), count)
        ratios = [ratio(mine, theirs) for mine, theirs in zip(our_bytes, stock_bytes, strict=True)]
        cells = [f"{our_bytes[0]:,.0f} B", ratios[0], f"{our_bytes[1]:,.0f} B", ratios[1]]
        shape = f"{'async' if is_async else 'sync'}, n = {count}"
        rows.append([shape, f"{stock_bytes[0]:,.0f} B", *cells[:2], f"{stock_bytes[1]:,.0f} B", *cells[2:]])
    headers = ["per open resource", "stock, peak", "ours, peak", "ratio", "stock, kept", "ours, kept", "ratio"]
    return table("Memory of one open resource with its share of the container instance", headers, rows)


async def _bytes_per_resource(make: Callable[[], Lifecycle], count: int) -> tuple[float, float]:
    """(peak while opening, kept while open), each divided by the number of resources."""
    warm = make()
    await warm.open()
    await warm.close()
    del warm
    gc.collect()
    lifecycle = make()
    tracemalloc.start()
    try:
        await lifecycle.open()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await lifecycle.close()
    return peak / count, kept / count


async def run(sizes: Sequence[int], *, repeats: int, stock_seconds: float, memory_count: int, unit: float) -> str:
    parts = [
        surroundings("prefect-lifespan", "dependency-injector"),
        "",
        await scaling(sizes, repeats=repeats, stock_seconds=stock_seconds),
        await concurrency(unit),
        await memory(memory_count),
    ]
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_close", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="(default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="openings of each for a row (default: %(default)s)")
    parser.add_argument(
        "--stock-seconds", type=float, default=10.0, help="longest stock closing to wait for (default: %(default)s)"
    )
    parser.add_argument("--memory-count", type=int, default=100, help="resources weighed (default: %(default)s)")
    parser.add_argument("--unit", type=float, default=0.1, help="unit of waiting (default: %(default)s s)")
    options = parser.parse_args(arguments)
    print(
        asyncio.run(
            run(
                options.sizes,
                repeats=options.repeats,
                stock_seconds=options.stock_seconds,
                memory_count=options.memory_count,
                unit=options.unit,
            )
        )
    )


if __name__ == "__main__":
    main()
