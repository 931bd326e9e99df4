"""What a lifespan costs beyond one process, runner by runner: `python -m benchmarks.workers`.

Target of the library: under 2 % of what a task takes on the same runner without it; one opening in each process.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from benchmarks._harness import duration, surroundings, table
from benchmarks._task_runners import RUNNERS, prefect_api

if TYPE_CHECKING:  # they import Prefect, which gets a home of its own before
    from benchmarks._own_part import Step, Travelling
    from benchmarks._workload import Batch, Mark


@dataclass(frozen=True)
class Run:
    """One run of a flow; `returned` is when the caller had its result."""

    batch: Batch
    marks: list[Mark]
    returned: float

    def count(self, what: str) -> int:
        return sum(mark.what == what for mark in self.marks)

    def after_the_body(self, what: str) -> float:
        """Seconds from the end of the flow function's body to the last mark of a kind."""
        return self._last(what) - self._last("body ended")

    @property
    def end(self) -> float:
        """Seconds from the end of the flow function's body until the caller had the result."""
        return self.returned - self._last("body ended")

    def _last(self, what: str) -> float:
        return max(mark.at for mark in self.marks if mark.what == what)


@dataclass(frozen=True)
class Measured:
    """All runs on one task runner: a long one, and rounds of a plain and an injected one."""

    long: Run
    rounds: list[tuple[Run, Run]]

    def compared(self, what: str) -> Compared:
        """`seconds` or `cpu` of a task in each round."""
        each = [tuple(getattr(run.batch, what) / len(run.batch.pids) for run in both) for both in self.rounds]
        return Compared([plain for plain, _ in each], [injected for _, injected in each])


@dataclass(frozen=True)
class Compared:
    """Seconds of a task by rounds, of the plain flow and of the injected one."""

    plain: list[float]
    injected: list[float]

    def cells(self) -> list[str]:
        """Least and median of both, and by how much a task takes longer, round by round: median and quartiles."""
        longer = [100 * (mine / theirs - 1) for theirs, mine in zip(self.plain, self.injected, strict=True)]
        low, middle, high = statistics.quantiles(longer, n=4, method="inclusive") if len(longer) > 1 else longer * 3
        both = [f"{duration(min(each))}, {duration(statistics.median(each))}" for each in (self.plain, self.injected)]
        return [*both, *(f"{percent:+.1f} %" for percent in (middle, low, high))]


def measure(name: str, *, workers: int, tasks: int, rounds: int, batch: int, within: float) -> Measured:
    """Everything on one task runner; each round has both flows, in an order that changes.

    After `within` seconds no further round begins, but three there are in any case.
    """
    from benchmarks._workload import injected_flow, marks_in, plain_flow

    shuffler = random.Random(0)
    processes = 1 if name == "thread" else workers
    if name == "thread":  # whose tasks are over so soon that a few of them are no measure
        batch *= 10
    with TemporaryDirectory() as folder, RUNNERS[name](workers) as runner:

        def run(flow: Any, count: int) -> Run:
            marks = Path(folder) / "marks"
            marks.unlink(missing_ok=True)
            done = flow.with_options(task_runner=runner)(str(marks), count, processes)
            returned = time()
            return Run(done, marks_in(marks), returned)

        def both() -> tuple[Run, Run]:
            order = [plain_flow, injected_flow]
            shuffler.shuffle(order)
            runs = {flow: run(flow, batch) for flow in order}
            return runs[plain_flow], runs[injected_flow]

        until = monotonic() + within
        long = run(injected_flow, tasks)
        done: list[tuple[Run, Run]] = []
        while len(done) < min(rounds, 3) or (len(done) < rounds and monotonic() < until):
            done.append(both())
        return Measured(long, done)


def openings(measured: dict[str, Measured]) -> str:
    rows: list[list[str]] = []
    for name, figures in measured.items():
        long = figures.long
        pids = set(long.batch.pids)
        cells = (len(long.batch.pids), len(pids), len(pids - {os.getpid()}), long.count("opened"), long.count("closed"))
        rows.append([name, *(f"{cell:,}" for cell in cells), duration(long.batch.seconds)])
    headers = ["runner", "tasks", "processes that ran them", "of these workers", "openings", "closings", "took"]
    return table("One run of many tasks that all use one resource", headers, rows)


def closing(measured: dict[str, Measured]) -> str:
    rows: list[list[str]] = []
    for name, figures in measured.items():
        plain = [run for run, _ in figures.rounds]
        injected = [run for _, run in figures.rounds]
        cells = (
            [run.after_the_body("closed") for run in injected],
            [run.after_the_body("flow function returned") for run in injected],
            [run.end for run in injected],
            [run.end for run in plain],
        )
        rows.append([name, *(duration(statistics.median(cell)) for cell in cells)])
    headers = ["runner", "last close", "flow function returned", "flow returned", "flow returned, plain"]
    return table("From the end of the flow function's body until (medians of the rounds)", headers, rows)


def overhead(measured: dict[str, Measured]) -> str:
    rows: list[list[str]] = []
    for name, figures in measured.items():
        rows.append([f"{name}, elapsed", *figures.compared("seconds").cells()])
        rows.append([f"{name}, processor", *figures.compared("cpu").cells()])
    headers = [
        "runner, time",
        "plain, a task: least, median",
        "injected, a task: least, median",
        "longer by, median",
        "lower quartile",
        "upper quartile",
    ]
    return table("A task without and with the library, by rounds that have both", headers, rows)


def own_part(part: list[Step], measured: dict[str, Measured]) -> str:
    """The steps, and what they come to on each runner."""
    from benchmarks import _own_part as steps

    title = "Processor time of one submitted task, step by step (without: Prefect's own work in this step)"
    rows = [[each.name, *map(_signed, (each.without, each.with_it, each.added))] for each in part]
    first = table(title, ["step", "without", "with it", "added"], rows)

    def added(*names: str) -> float:
        return sum(each.added for each in part if each.name in names)

    rows = []
    for name, figures in measured.items():
        if name == "thread":
            seconds, times = added(steps.TRACKING_THREADS, steps.CALLING), "not pickled"
        else:
            pickled, unpickled_here = figures.long.batch.picklings
            unpickled = unpickled_here + 1
            pickling = pickled * added(steps.PICKLING) + unpickled * added(steps.UNPICKLING)
            seconds = pickling + added(steps.TRACKING, steps.SERIALISING, steps.ENTERING, steps.CALLING)
            times = f"{pickled:g} / {unpickled:g} times"
        plain = statistics.median(figures.compared("seconds").plain)
        rows.append([name, times, _signed(seconds), duration(plain), f"{100 * seconds / plain:.2f} %"])
    headers = ["runner", "pickled / unpickled", "added to a task", "a plain task", "added"]
    return f"{first}\n{table('All these steps, as a part of what a plain task takes', headers, rows)}"


def _signed(seconds: float) -> str:
    """A difference, which noise may turn about."""
    return f"-{duration(-seconds)}" if seconds < 0 else duration(seconds)


def sizes(parts: dict[str, Travelling]) -> str:
    rows: list[list[str]] = []
    for where, part in parts.items():
        pairs = (part.task_bytes, part.context_bytes)
        more = sum(with_it - without for without, with_it in pairs)
        rows.append([where, *(f"{size:,} B" for pair in pairs for size in pair), f"{more:,} B"])
    headers = ["container", "plain task", "injected task", "context, no lifespan", "context, lifespan", "added"]
    return table("What is pickled for one task, beside its arguments and the environment", headers, rows)


def references(parts: dict[str, Travelling]) -> str:
    rows: list[list[str]] = []
    for where, part in parts.items():
        cells = (part.first - part.later.without, part.later.added)
        rows.append([where, *map(_signed, cells), duration(part.later.without)])
    headers = ["container", "first submission", "later ones", "the run's context without it"]
    return table("Making the reference that travels", headers, rows)


def run(
    names: Sequence[str], *, workers: int, tasks: int, rounds: int, batch: int, repetitions: int, within: float
) -> str:
    from benchmarks._own_part import steps, travelling, travelling_from_main

    before = os.getloadavg()
    measured = {
        name: measure(name, workers=workers, tasks=tasks, rounds=rounds, batch=batch, within=within) for name in names
    }
    of_a_module = travelling(repetitions)
    parts = {"in a module": of_a_module, "in __main__": travelling_from_main(repetitions)}
    all_steps = [of_a_module.later, *steps(repetitions)]
    loads = " -> ".join(f"{each:.1f}" for each in (before[0], os.getloadavg()[0]))
    lines = [
        surroundings("prefect-lifespan", "dependency-injector", "prefect", "prefect-dask", "prefect-ray"),
        f"{', '.join(f'{name} {len(each.rounds)}' for name, each in measured.items())} rounds of {batch} tasks (thread: ten times as many) with {workers} workers; load of the machine (1 minute) {loads}",
        "",
        openings(measured),
        closing(measured),
        overhead(measured),
        own_part(all_steps, measured),
        sizes(parts),
        references(parts),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument(
        "--runners", default=",".join(RUNNERS), metavar="NAMES", help="which, in this order (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, help="of each runner (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of the long run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of runs for each runner (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=40, help="tasks that a round times (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=200, help="of each single step (default: %(default)s)")
    parser.add_argument(
        "--within",
        type=float,
        default=900,
        metavar="SECONDS",
        help="after which no round begins (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    names = options.runners.split(",")
    if unknown := set(names) - set(RUNNERS):
        parser.error(f"no such runner: {', '.join(sorted(unknown))} (there are {', '.join(RUNNERS)})")
    with prefect_api():
        printed = run(
            names,
            workers=options.workers,
            tasks=options.tasks,
            rounds=options.rounds,
            batch=options.batch,
            repetitions=options.repetitions,
            within=options.within,
        )
    print(printed)


if __name__ == "__main__":
    main()
