"""The plain data that travels between the API, the tasks and the warehouse: one finished run each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a run ended; the names are Prefect's state types."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    CANCELLED = "CANCELLED"

    @property
    def is_failure(self) -> bool:
        """Whether it counts against the success rate; a run that somebody cancelled does not."""
        return self in {Outcome.FAILED, Outcome.CRASHED}


@dataclass(frozen=True, slots=True)
class FlowRunRecord:
    """One finished flow run. `duration_seconds` is the time spent running, over all attempts, without waiting."""

    id: str
    flow_name: str
    name: str
    outcome: Outcome
    state_name: str
    message: str | None
    started_at: datetime
    ended_at: datetime
    duration_seconds: float
    attempts: int


@dataclass(frozen=True, slots=True)
class TaskRunRecord:
    """One finished task run of a stored flow run."""

    id: str
    flow_run_id: str
    task_name: str
    outcome: Outcome
    started_at: datetime
    ended_at: datetime
    duration_seconds: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time to read: the runs that ended from `since` (the beginning of time where None) to `until`."""

    since: datetime | None
    until: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """What one batch did to the warehouse: rows read, and rows that were new or had changed."""

    flow_runs: int = 0
    task_runs: int = 0
    changed: int = 0

    def __add__(self, other: Stored) -> Stored:
        return Stored(self.flow_runs + other.flow_runs, self.task_runs + other.task_runs, self.changed + other.changed)
