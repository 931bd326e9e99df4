"""Flows that lose what they run in, as programs; the clusters that outlive them; and every process of either."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.processes.running import ROOT, Program, Programs, eventually

ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),  # so that all processes can import what tests import
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "PREFECT_INTEGRATIONS_LIFESPAN_WORKER_IDLE_SECONDS": "1",
    "ANSWER": "4",
    "CLOSE_TIMEOUT": "1",
}


@dataclass
class Family:
    """A program, and all processes that it was seen to have started."""

    program: Program
    processes: set[psutil.Process] = field(default_factory=set)

    def look(self) -> None:
        """Note the processes that it has by now: once it is killed nobody knows whose they are."""
        with suppress(psutil.NoSuchProcess):
            self.processes |= set(psutil.Process(self.program.pid).children(recursive=True))

    def left(self) -> set[int]:
        """Those that still run."""
        return {process.pid for process in self.processes if _runs(process)}

    def end(self) -> None:
        """End all of them."""
        self.look()
        self.program.kill()
        for process in self.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Run(Family):
    """A flow of programs/losses.py."""

    def pids(self, what: str) -> list[int]:
        """The processes that have marked something, in the order in which they did."""
        lines = (line.split() for line in self.program.marks())
        return [int(words[len(what.split())]) for words in lines if words[: len(what.split())] == what.split()]

    @property
    def outcomes(self) -> dict[int, str]:
        """With which outcome each process has closed what it had."""
        closed = [line.split()[2:] for line in self.program.marks() if line.startswith("close db")]
        assert len({pid for pid, _ in closed}) == len(closed), "each closes once"
        return {int(pid): outcome for pid, outcome in closed}

    def begin(self, *numbers: int) -> list[int]:
        """Wait until tasks run; their processes. A process that has ended already does not count."""

        def running() -> list[int]:
            found = [self.pids(f"task {n}")[-1:] for n in numbers or (0, 1)]
            return [pid for pids in found for pid in pids] if all(found) else []

        pids = self.eventually(running, "the tasks run")
        self.look()
        return pids

    def go(self, *numbers: int) -> None:
        """Let tasks end."""
        for n in numbers or (0, 1):
            self.program.tell(f"go {n}")

    def close(self, pids: Iterable[int]) -> dict[int, str]:
        """Wait until processes have closed what they had; the outcomes of all that have."""
        wanted = set(pids)
        self.eventually(lambda: wanted <= set(self.outcomes), f"{wanted} close")
        return self.outcomes

    def eventually(self, condition: Callable[[], Any], description: str) -> Any:
        """Wait until something holds."""
        return eventually(condition, description, lambda: "\n".join([*self.program.marks(), self.program.log()]))

    def end_of_flow(self) -> str:
        """Wait until the program has ended; what its flow returned or raised, without the values."""
        self.program.ends()
        (told,) = [line for line in self.program.marks() if line.startswith(("returned", "raised"))]
        return " ".join(told.split()[:2]) if told.startswith("raised") else "returned"


@dataclass
class Cluster:
    """A cluster that outlives the runs on it, in a process of its own. Its workers mark in its folder."""

    kind: str
    programs: Programs
    family: Family | None = None
    address: str = ""

    def start(self) -> None:
        """Start it, if that was not done yet."""
        if self.family is not None:
            return
        program = self.programs.start("tests.workers.programs.outliving", self.kind, **ENVIRONMENT)
        self.family = Family(program)

        def address() -> list[str]:
            return [line.split()[1] for line in program.marks() if line.startswith("address")]

        (self.address,) = eventually(address, "the cluster runs", program.log)

    def tell(self, order: str) -> None:
        """Give the cluster an order."""
        assert self.family is not None
        self.family.program.tell(order)

    def end(self) -> None:
        """End it, in order where that works."""
        if self.family is not None:
            self.family.look()
            self.tell("stop")
            self.family.program.ends()
            self.family.end()


@dataclass
class Losing:
    """Starts the runs of one test."""

    programs: Programs
    clusters: dict[str, Cluster]
    runs: list[Run] = field(default_factory=list)

    def start(self, flow: str, kind: str, *, beside: bool = False, **environment: str) -> Run:
        """Run a flow on pool, dask or ray, which end with the run, or on "outliving dask" or "outliving ray".

        On one of the latter there may be another run, whose marks are kept when this one runs `beside` it.
        """
        *outliving, kind = kind.split()
        module, environment = "tests.workers.programs.losses", ENVIRONMENT | environment
        if outliving:
            cluster = self.clusters[kind]
            cluster.start()
            assert cluster.family is not None
            folder = cluster.family.program.folder
            for file in () if beside else ("marks", "orders"):  # of the run before
                (folder / file).unlink(missing_ok=True)
            run = Run(self.programs.start_in(folder, module, flow, kind, cluster.address, **environment))
        else:
            run = Run(self.programs.start(module, flow, kind, **environment))
        self.runs.append(run)
        return run

    def end(self) -> None:
        """End what is left of them."""
        for run in self.runs:
            run.end()


def kill(pid: int) -> None:
    """What the out-of-memory killer does."""
    os.kill(pid, signal.SIGKILL)
