"""What one call of an injected function costs, against others: `python -m benchmarks.injected_call`.

Target of the library: no slower than dependency-injector's own `@inject`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import _systems
from benchmarks._harness import NOT_INSTALLED, median_ns, ratio, surroundings, table

PLAIN = "plain call"
STOCK = "stock @inject"
OURS = "prefect-lifespan"

SYSTEMS: dict[str, _systems.Adapter] = {
    PLAIN: _systems.plain,
    STOCK: _systems.stock,
    OURS: _systems.ours,
    "wireup": _systems.wireup,
    "svcs": _systems.svcs,
    "dishka": _systems.dishka,
    "that-depends": _systems.that_depends,
}

EVERYWHERE: tuple[_systems.Kind, ...] = ("Resource", "Singleton", "Factory")
ASYNC_ONLY: tuple[_systems.Kind, ...] = ("async Resource",)

CASES: list[_systems.Case] = [
    _systems.Case(kind, count, is_async)
    for is_async, kinds in ((False, EVERYWHERE), (True, EVERYWHERE + ASYNC_ONLY))
    for kind in kinds
    for count in (1, 3, 10)
]
CASES += [_systems.Case("Resource", 1, is_async, beside_a_task_resource=True) for is_async in (False, True)]
CASES += [_systems.Case("Resource", 1, is_async, outside_lifespans=True) for is_async in (False, True)]

PEERS = ("wireup", "svcs", "dishka", "that-depends")


def absent(name: str, case: _systems.Case) -> str:
    """What a cell says that has no figure."""
    return NOT_INSTALLED if _systems.offers(name, case) else "-"


Figures = dict[str, float | None]


async def measure(case: _systems.Case, *, rounds: int, batch_ms: float) -> Figures:
    """Nanoseconds of a call by contestant, None for one that is not installed; all containers are open meanwhile."""
    figures: Figures = dict.fromkeys(SYSTEMS)
    contestants: dict[str, Callable[[int], Any]] = {}
    async with AsyncExitStack() as opened:
        for name, adapter in SYSTEMS.items():
            if not _systems.offers(name, case):
                continue
            try:
                contestants[name] = await opened.enter_async_context(adapter(case))
            except ModuleNotFoundError:
                continue
            await _assert_injects(name, contestants[name], case)
        medians = await median_ns(contestants, is_async=case.is_async, rounds=rounds, batch_ms=batch_ms)
        return figures | medians


async def _assert_injects(name: str, call: Callable[[int], Any], case: _systems.Case) -> None:
    """A contestant that hands over a marker, or the same product of a Factory twice, would be fast for nothing."""
    values = [await call(1) if case.is_async else call(1) for _ in range(2)]
    if not all(isinstance(value, _systems.First) for value in values):
        raise TypeError(f"{name} injected {values[0]!r} in {case}")
    made_anew = values[0] is not values[1]
    if made_anew != (case.kind == "Factory" or case.outside_lifespans) and name != PLAIN:
        raise TypeError(f"{name} injected {'another' if made_anew else 'the same'} object in the second call of {case}")


def tables(measured: dict[_systems.Case, Figures]) -> str:
    """Three tables of the same shape: nanoseconds, ratio to the stock `@inject`, ratio to the plain call."""
    headers = ["injected into a function", *SYSTEMS]

    def draw(title: str, cell: Callable[[float, Figures], str]) -> str:
        rows = [
            [
                str(case),
                *(absent(name, case) if (value := figures[name]) is None else cell(value, figures) for name in SYSTEMS),
            ]
            for case, figures in measured.items()
        ]
        return table(title, headers, rows)

    return "\n".join(
        [
            draw("Nanoseconds a call (median; loop included, the same for all)", lambda ns, _: f"{ns:,.0f}"),
            draw("As a ratio to dependency-injector's own @inject (below 1: faster)", _ratio_to(STOCK)),
            draw("As a ratio to the plain call", _ratio_to(PLAIN)),
        ]
    )


def _ratio_to(base: str) -> Callable[[float, Figures], str]:
    def cell(value: float, figures: Figures) -> str:
        reference = figures[base]
        return "-" if reference is None else ratio(value, reference)

    return cell


async def run(cases: Sequence[_systems.Case], *, rounds: int, batch_ms: float) -> str:
    measured = {case: await measure(case, rounds=rounds, batch_ms=batch_ms) for case in cases}
    versions = surroundings("prefect-lifespan", "dependency-injector", *PEERS)
    return f"{versions}\n{rounds} interleaved rounds of about {batch_ms:g} ms for each cell\n\n{tables(measured)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.injected_call", description=__doc__)
    parser.add_argument("--rounds", type=int, default=101, help="rounds for each row (default: %(default)s)")
    parser.add_argument("--batch-ms", type=float, default=1.0, help="length of one batch (default: %(default)s ms)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows whose name contains this")
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if options.only in str(case)]
    print(asyncio.run(run(cases, rounds=options.rounds, batch_ms=options.batch_ms)))


if __name__ == "__main__":
    main()
