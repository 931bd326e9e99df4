"""What one call of an injected function costs in instructions, against others: `python -m benchmarks.instructions`.

Counted by valgrind's callgrind, so the figures are the same on a busy machine: what differs between two runs is a few in a
thousand. They say nothing of memory and caches; `injected_call` measures the time. Needs `valgrind` on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import _systems
from benchmarks._harness import surroundings, table
from benchmarks.injected_call import CASES, OURS, PEERS, PLAIN, STOCK, SYSTEMS, absent

_WARM_UP = 60  # calls before the count, in which caches are filled and the interpreter specialises its code
QUICK = [case for case in CASES if case.count == 1 and not (case.is_async and case.kind in ("Singleton", "Factory"))]
QUICK_SYSTEMS = (PLAIN, STOCK, OURS, "wireup")


def _boundary() -> None:
    """Callgrind begins a new count whenever this function of the C library is called."""
    os.getppid()


async def _count(name: str, case: _systems.Case, calls: int) -> None:
    async with AsyncExitStack() as opened:
        call: Callable[[int], Any] = await opened.enter_async_context(SYSTEMS[name](case))
        for round_ in (_WARM_UP, calls):
            _boundary()
            if case.is_async:
                for _ in range(round_):
                    await call(1)
            else:
                for _ in range(round_):
                    call(1)
        _boundary()


async def _count_all(cases: Sequence[_systems.Case], names: Sequence[str], calls: int) -> None:
    """Under callgrind: print a line for each cell whose count was taken, in the order of the counts."""
    gc.disable()
    for case in cases:
        for name in names:
            if not _systems.offers(name, case):
                continue
            try:
                await _count(name, case, calls)
            except ModuleNotFoundError:
                continue
            print(f"{case}|{name}", flush=True)


def _counts(folder: Path) -> list[int]:
    """The instructions between two boundaries, in order."""
    found: list[int] = []
    for number in range(1, sum(1 for _ in folder.glob("counts.*")) + 1):
        lines = (folder / f"counts.{number}").read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if line.startswith(("summary:", "totals:"))))
    return found


def measure(cases: Sequence[_systems.Case], names: Sequence[str], calls: int) -> dict[tuple[str, str], float]:
    """Instructions of a call, by case and contestant."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            *("valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={folder / 'counts'}"),
            *(sys.executable, "-m", "benchmarks.instructions", "--under-callgrind", "--calls", str(calls)),
            *("--cases", ",".join(str(CASES.index(case)) for case in cases), "--systems", ",".join(names)),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        cells = [(cell[0], cell[1]) for line in done.stdout.splitlines() if len(cell := line.split("|")) == 2]
        # For each cell three boundaries: what ends with the third is the count.
        counted = _counts(folder)[2::3]
    return {cell: count / calls for cell, count in zip(cells, counted, strict=False)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--calls", type=int, default=100, help="calls for each cell (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="some rows, against the fastest and the stock")
    parser.add_argument("--under-callgrind", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cases", default="", help=argparse.SUPPRESS)
    parser.add_argument("--systems", default="", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.under_callgrind:
        cases = [CASES[int(index)] for index in options.cases.split(",")]
        asyncio.run(_count_all(cases, options.systems.split(","), options.calls))
        return
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: no instructions are counted (apt-get install valgrind)")
        return
    names = QUICK_SYSTEMS if options.quick else tuple(SYSTEMS)
    cases = [case for case in (QUICK if options.quick else CASES) if options.only in str(case)]
    counted = measure(cases, names, options.calls)
    rows = [
        [
            str(case),
            *(
                f"{counted[key]:,.0f}" if (key := (str(case), name)) in counted else absent(name, case)
                for name in names
            ),
        ]
        for case in cases
    ]
    print(surroundings("prefect-lifespan", "dependency-injector", *PEERS))
    print(f"{options.calls} calls for each cell, loop included, the same for all\n")
    print(table("Instructions a call", ["injected into a function", *names], rows))


if __name__ == "__main__":
    main()
