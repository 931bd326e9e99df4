"""Task runners by kind, and the records of runs on them: their marks, results and logs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner


def on(*kinds: str, extended: Sequence[str] = ()) -> list[Any]:
    """Kinds of task runners as a test's parameter; those where it goes as on another one are for `make test-all`."""
    return [*kinds, *(pytest.param(kind, marks=pytest.mark.extended) for kind in extended)]


KINDS = on("thread", "pool", "dask processes", "ray", extended=["dask threads"])
PATIENCE_SECONDS = 60


@dataclass
class Runners:
    """Makes task runners for flows."""

    fixture: Callable[[str], str]

    def of(self, kind: str) -> Any:
        """A task runner for one flow."""
        if kind == "thread":
            return ThreadPoolTaskRunner(max_workers=2)
        if kind == "pool":
            return ProcessPoolTaskRunner(max_workers=2)
        if kind == "ray":
            self.fixture("ray_cluster")
            from prefect_ray import RayTaskRunner

            return RayTaskRunner()
        from distributed import client
        from prefect_dask.task_runners import DaskTaskRunner

        # A worker in this process that submits makes its client the default one here, which Prefect prefers to an address.
        client._global_clients.clear()
        return DaskTaskRunner(address=self.fixture(kind.replace(" ", "_")))


@dataclass(frozen=True)
class Mark:
    """What a process did."""

    pid: int
    what: str


def marks_at(path: Path) -> list[Mark]:
    """All marks in a file, in their order."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Mark(int(pid), what) for pid, what in (line.split(" ", 1) for line in lines)]


@dataclass
class Record:
    """What a run on a kind of task runner has left behind."""

    kind: str
    path: Path
    state: Any
    seen: Any = None
    error: BaseException | None = None
    _kept: list[Mark] = field(default_factory=list)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its tasks ran in other processes."""
        return self.kind in {"pool", "dask processes", "ray"}

    @cached_property
    def marks(self) -> list[Mark]:
        """Its marks."""
        return marks_at(self.path)

    def beside(self, suffix: str) -> list[Mark]:
        """Marks of another lifespan of the run."""
        return marks_at(self.path.with_name(f"{self.path.name}.{suffix}"))

    def index(self, what: str) -> int:
        """Where something was marked first."""
        return [mark.what for mark in self.marks].index(what)

    def pids(self, what: str) -> list[int]:
        """The processes that marked something, as often as they did."""
        return [mark.pid for mark in self.marks if mark.what == what]

    def starting(self, with_: str) -> list[Mark]:
        """The marks that start with something."""
        return [mark for mark in self.marks if mark.what.startswith(with_)]

    @cached_property
    def log(self) -> list[str]:
        """The lines of openings and closings in the run's log at the API, when what the run has opened has closed.

        A `ProcessResource`, which the run only opens, closes later.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            lines = [line for line in _read_log(self.state.state_details.flow_run_id) if re.match("Opened|Clos", line)]
            paired = [line for line in lines if " App.model " not in line]
            opened = sum(line.startswith("Opened") for line in paired)
            if (opened and 2 * opened == len(paired)) or time.monotonic() > deadline:
                return lines
            time.sleep(0.2)


def _read_log(run_id: UUID) -> list[str]:
    found: list[str] = []
    with get_client(sync_client=True) as client:
        while True:
            chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
            page = client.read_logs(log_filter=chosen, limit=200, offset=len(found))
            found += [line.message for line in page]
            if len(page) < 200:
                return found
