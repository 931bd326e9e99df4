"""What a deployment's run costs before its first line: the process worker, `flow.serve()` and the worker type `lifespan`.

Each has the same flow, against one Prefect API, which each asks for runs once a second. They take turns, one run at a time.
Then a warm process has a row of further runs, and what it holds is looked at.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from tests import prefect_api

ROOT = Path(__file__).parents[1]
KINDS = ("process", "flow.serve()", "lifespan")
ROW = "in a row"
PATIENCE_SECONDS = 180
# How much of the time the comparison may take; the row has the rest.
_COMPARING = 0.7


@dataclass(frozen=True)
class Held:
    """What a process holds after a number of runs."""

    runs: int
    memory_mib: float
    files: int
    threads: int

    @classmethod
    def by(cls, pid: int, runs: int) -> Held:
        """At this moment."""
        process = psutil.Process(pid)
        with process.oneshot():
            return cls(runs, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


@dataclass
class Contestant:
    """One kind, with its deployment and the process that takes its runs; and what was measured of it."""

    kind: str
    deployment: UUID
    server: psutil.Process
    marks: Path
    from_scheduled: list[float] = field(default_factory=list[float])
    from_taken: list[float] = field(default_factory=list[float])
    processor: list[float] = field(default_factory=list[float])

    def warm_up(self, client: Any) -> None:
        """Have the run that starts what stays."""
        _run(client, self, -1)

    def take_turn(self, client: Any, number: int) -> None:
        """Have one run, and wait until what was started for it has gone."""
        started, before = len(self.server.children(recursive=True)), _processor_seconds(self.server)
        scheduled, taken, begun = _run(client, self, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.server.children(recursive=True)) > started and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)  # what a warm process does behind a run counts as well
        self.from_scheduled.append(begun - scheduled)
        self.from_taken.append(begun - taken)
        self.processor.append(_processor_seconds(self.server) - before)

    def lines(self, word: str) -> list[str]:
        """What its runs have left behind."""
        return [line for line in self.marks.read_text().splitlines() if line.startswith(word)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="runs of each kind")
    parser.add_argument(
        "--in-a-row", type=int, default=200, help="further runs in a warm process, watched for what it holds"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas between")
    parser.add_argument(
        "--within", type=float, default=450.0, help="seconds that all may take; then there are fewer runs"
    )
    asked = parser.parse_args(arguments)
    kinds = asked.kinds.split(",")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}")
    began = time.monotonic()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, prefect_api.running() as address:
        os.environ |= {"PREFECT_API_URL": address, "PREFECT_HOME": folder, "PREFECT_LOGGING_LEVEL": "WARNING"}
        os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "10"  # an API that is busy says 503 on a loaded machine
        prefect_api.wait(address)
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            contestants = _compared(client, kinds, Path(folder), asked.runs, began + _COMPARING * asked.within)
            print(f"{os.cpu_count()} processors, load {load:.1f} at the start\n")
            _print(contestants)
            if "lifespan" in kinds and asked.in_a_row:
                _print_row(_in_a_row(client, Path(folder), asked.in_a_row, began + asked.within))


def _compared(client: Any, kinds: Sequence[str], folder: Path, runs: int, until: float) -> list[Contestant]:
    """All of them, each with its runs; fewer where the time is over before."""
    with ExitStack() as stack:
        contestants = [stack.enter_context(_serving(kind, client, folder)) for kind in kinds]
        for contestant in contestants:
            contestant.warm_up(client)
        for number in range(runs):
            for contestant in contestants:
                contestant.take_turn(client, number)
            if time.monotonic() > until:
                break
    return contestants


def _in_a_row(client: Any, folder: Path, runs: int, until: float) -> list[Held]:
    """What one warm process holds after each tenth of so many runs."""
    held: list[Held] = []
    with _serving("lifespan", client, folder, name=ROW, every_seconds=0.1) as contestant:
        for number in range(1, runs + 1):
            _run(client, contestant, number)
            if number % max(1, runs // 10) == 0 or time.monotonic() > until:
                held.append(Held.by(int(contestant.lines("begun")[-1].split()[-1]), number))
            if time.monotonic() > until:
                break
    return held


@contextmanager
def _serving(
    kind: str, client: Any, folder: Path, *, name: str | None = None, every_seconds: float = 1.0
) -> Iterator[Contestant]:
    """A deployment, and the process that takes its runs, which it asks for so often."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.base import BaseWorker

    name = name or kind
    marks = folder / f"{name}.marks"
    environment = os.environ | {
        "MARKS": str(marks),
        "PREFECT_WORKER_QUERY_SECONDS": str(every_seconds),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",  # in whole seconds
        "PYTHONPATH": str(ROOT),
    }
    if kind == "flow.serve()":
        command = ["-m", "benchmarks._warm_flow"]
    else:
        found = BaseWorker.get_worker_class_from_type(kind)
        assert found is not None
        template = found.get_default_base_job_template()
        if kind == "lifespan":
            template["variables"]["properties"]["processes"]["default"] = 1
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        client.create_deployment(
            flow_id=client.create_flow_from_name("first-line"),
            name=name,
            work_pool_name=name,
            entrypoint="benchmarks/_warm_flow.py:first_line",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        )
        command = ["-m", "prefect", "worker", "start", "--pool", name, "--type", kind]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while True:
                try:
                    deployment = client.read_deployment_by_name(f"first-line/{name}").id
                    break
                except ObjectNotFound:
                    assert process.poll() is None, f"{name} has ended"
                    time.sleep(0.1)
            yield Contestant(kind, deployment, psutil.Process(process.pid), marks)
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _run(client: Any, contestant: Contestant, number: int) -> tuple[float, float, float]:
    """Have one run; when it was scheduled, taken by who runs it, and at its first line."""
    run = client.create_flow_run_from_deployment(contestant.deployment, parameters={"number": number})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not client.read_flow_run(run.id).state.is_final():
        assert contestant.server.is_running(), f"{contestant.kind} has ended"
        assert contestant.server.status() != psutil.STATUS_ZOMBIE, f"{contestant.kind} has ended"
        assert time.monotonic() < deadline, "the run does not end"
        time.sleep(0.05)
    states = client.read_flow_run_states(run.id)
    assert states[-1].is_completed(), states[-1]
    taken = next(state.timestamp.timestamp() for state in states if state.is_pending())
    begun = contestant.lines(f"begun {number} ")[-1]
    return states[0].timestamp.timestamp(), taken, float(begun.split()[2])


def _processor_seconds(server: psutil.Process) -> float:
    """What a process, those that it has started, and those of them that have ended have used."""
    total = 0.0
    for process in [server, *server.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _print(contestants: Sequence[Contestant]) -> None:
    """As a table for docs/how-to/warm-worker.md."""
    base = next((statistics.median(each.from_taken) for each in contestants if each.kind == "process"), None)
    print("| | runs | scheduled to first line, s: median (p95) | taken to first line, s: median (p95) | of that, to the "
          "process worker's | processor, s a run: median | openings of the process resource | processes |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for each in contestants:
        taken = statistics.median(each.from_taken)
        cells = (
            f"`{each.kind}`",
            f"{len(each.from_taken)}",
            _both(each.from_scheduled),
            _both(each.from_taken),
            "" if base is None else f"{taken / base:.3f}",
            f"{statistics.median(each.processor):.2f}",
            f"{len(each.lines('opened'))}",
            f"{len({line.split()[-1] for line in each.lines('begun')})}",
        )
        print(f"| {' | '.join(cells)} |")


def _print_row(held: Sequence[Held]) -> None:
    print("\n| runs in a row | " + " | ".join(f"{each.runs}" for each in held) + " |")
    print("|---" * (len(held) + 1) + "|")
    for name, values in (
        ("MiB", [f"{each.memory_mib:.1f}" for each in held]),
        ("open files", [f"{each.files}" for each in held]),
        ("threads", [f"{each.threads}" for each in held]),
    ):
        print(f"| {name} | {' | '.join(values)} |")
    settled = held[len(held) // 2 :]  # caches fill before
    if len(settled) > 1:
        slope = statistics.linear_regression(
            [each.runs for each in settled], [each.memory_mib for each in settled]
        ).slope
        print(f"\n{1024 * slope:+.1f} KiB a run in the second half")


def _both(values: Sequence[float]) -> str:
    p95 = sorted(values)[max(0, round(0.95 * len(values)) - 1)]
    return f"{statistics.median(values):.2f} ({p95:.2f})"


if __name__ == "__main__":
    main()
