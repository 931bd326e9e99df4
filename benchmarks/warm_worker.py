"""What a deployment's run costs before its first line: the process worker, `flow.serve()` and the worker type `lifespan`.

Each has the same flow, one run after another, against one Prefect API, asking it for runs once a second.
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from tests import prefect_api

ROOT = Path(__file__).parents[1]
KINDS = ("process", "flow.serve()", "lifespan")
PATIENCE_SECONDS = 180


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    memory_mib: float
    files: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Held:
        """At this moment."""
        process = psutil.Process(pid)
        with process.oneshot():
            return cls(process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


@dataclass
class Figures:
    """What was measured of one kind."""

    from_scheduled: list[float] = field(default_factory=list[float])
    from_taken: list[float] = field(default_factory=list[float])
    processor: float = 0.0
    openings: int = 0
    processes: int = 0
    held: list[Held] = field(default_factory=list["Held"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="runs of each kind")
    parser.add_argument(
        "--in-a-row", type=int, default=200, help="further runs in a warm process, watched for what it holds"
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="which, with commas between")
    asked = parser.parse_args(arguments)
    kinds = asked.kinds.split(",")
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"no such kind: {', '.join(unknown)}")
    load = os.getloadavg()[0]
    print(
        f"{asked.runs} runs of each kind, one after another; {os.cpu_count()} processors, load {load:.1f} at the start\n"
    )
    with tempfile.TemporaryDirectory() as folder, prefect_api.running() as address:
        os.environ |= {"PREFECT_API_URL": address, "PREFECT_HOME": folder, "PREFECT_LOGGING_LEVEL": "WARNING"}
        os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "10"  # an API that is busy says 503 on a loaded machine
        prefect_api.wait(address)
        measured = {
            kind: _measured(kind, Path(folder), asked.runs, asked.in_a_row if kind == "lifespan" else 0)
            for kind in kinds
        }
    _print(measured)


def _measured(kind: str, folder: Path, runs: int, in_a_row: int) -> Figures:
    from prefect.client.orchestration import get_client

    marks, figures = folder / f"{kind}.marks", Figures()
    os.environ["MARKS"] = str(marks)
    with get_client(sync_client=True) as client, _serving(kind, client) as (deployment, server):
        _run(client, deployment, -1, marks)  # the first one starts what stays
        before = _processor_seconds(server)
        for number in range(runs):
            scheduled, taken, begun = _run(client, deployment, number, marks)
            figures.from_scheduled.append(begun - scheduled)
            figures.from_taken.append(begun - taken)
        figures.processor = (_processor_seconds(server) - before) / runs
        lines = marks.read_text().splitlines()
        figures.openings = sum(line.startswith("opened") for line in lines)
        figures.processes = len({line.split()[-1] for line in lines if line.startswith("begun")})
        for number in range(runs, runs + in_a_row):
            _run(client, deployment, number, marks)
            if (number - runs) % 20 == 0 or number == runs + in_a_row - 1:
                figures.held.append(Held.by(int(marks.read_text().splitlines()[-1].split()[-1])))
    return figures


@contextmanager
def _serving(kind: str, client: Any) -> Iterator[tuple[UUID, psutil.Process]]:
    """A deployment, and the process that takes its runs."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.base import BaseWorker

    environment = os.environ | {
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
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
        client.create_work_pool(WorkPoolCreate(name=kind, type=kind, base_job_template=template))
        client.create_deployment(
            flow_id=client.create_flow_from_name("first-line"),
            name=kind,
            work_pool_name=kind,
            entrypoint="benchmarks/_warm_flow.py:first_line",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        )
        command = ["-m", "prefect", "worker", "start", "--pool", kind, "--type", kind]
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
                    deployment = client.read_deployment_by_name(f"first-line/{kind}").id
                    break
                except ObjectNotFound:
                    assert process.poll() is None, f"{kind} has ended"
                    time.sleep(0.1)
            yield deployment, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _run(client: Any, deployment: UUID, number: int, marks: Path) -> tuple[float, float, float]:
    """Have one run; when it was scheduled, taken by who runs it, and at its first line."""
    run = client.create_flow_run_from_deployment(deployment, parameters={"number": number})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not client.read_flow_run(run.id).state.is_final():
        assert time.monotonic() < deadline, "the run does not end"
        time.sleep(0.05)
    states = client.read_flow_run_states(run.id)
    assert states[-1].is_completed(), states[-1]
    taken = next(state.timestamp.timestamp() for state in states if state.is_pending())
    begun = next(line for line in marks.read_text().splitlines() if line.startswith(f"begun {number} "))
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


def _print(measured: dict[str, Figures]) -> None:
    base = measured.get("process")
    head = ("", "scheduled to first line, s", "taken to first line, s", "", "processor,", "openings,", "processes")
    print("{:14}{:>30}{:>26}{:>10}{:>12}{:>11}{:>11}".format(*head))
    print("{:14}{:>30}{:>26}{:>10}{:>12}".format("", "median (p95)", "median (p95)", "ratio", "s a run"))
    for kind, figures in measured.items():
        taken = statistics.median(figures.from_taken)
        ratio = "" if base is None else f"{taken / statistics.median(base.from_taken):.3f}"
        print(
            f"{kind:14}{_both(figures.from_scheduled):>30}{_both(figures.from_taken):>26}{ratio:>10}"
            f"{figures.processor:>12.2f}{figures.openings:>11}{figures.processes:>11}"
        )
        if figures.held:
            print("\na warm process at the first, each 20th and the last of further runs in a row")
            for name, values in (
                ("MiB", [round(each.memory_mib) for each in figures.held]),
                ("open files", [each.files for each in figures.held]),
                ("threads", [each.threads for each in figures.held]),
            ):
                print(f"{name:>12} {' '.join(f'{value:4}' for value in values)}")


def _both(values: Sequence[float]) -> str:
    p95 = sorted(values)[max(0, round(0.95 * len(values)) - 1)]
    return f"{statistics.median(values):.2f} ({p95:.2f})"


if __name__ == "__main__":
    main()
