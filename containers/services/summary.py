"""What a history says of each flow: runs, success rate, median and 95th percentile duration, last failure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord


@dataclass(frozen=True, slots=True)
class FlowSummary:
    """One flow's figures. Durations are in seconds.

    `success_rate` is completed runs over those that completed or failed or crashed: a run that somebody cancelled
    says nothing of the flow. None where there is none of these.
    """

    flow_name: str
    runs: int
    outcomes: dict[Outcome, int]
    success_rate: float | None
    median_seconds: float
    p95_seconds: float
    total_seconds: float
    last_failure: FlowRunRecord | None
    recent: tuple[FlowRunRecord, ...]


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """One task's figures within one flow."""

    flow_name: str
    task_name: str
    runs: int
    failures: int
    retried: int
    median_seconds: float
    total_seconds: float


RECENT = 24


def summarise_flows(runs: Iterable[FlowRunRecord]) -> list[FlowSummary]:
    """The figures of each flow, by name."""
    by_flow: dict[str, list[FlowRunRecord]] = defaultdict(list)
    for run in runs:
        by_flow[run.flow_name].append(run)
    return [_summarise(name, by_flow[name]) for name in sorted(by_flow)]


def _summarise(name: str, runs: list[FlowRunRecord]) -> FlowSummary:
    runs = sorted(runs, key=lambda run: (run.ended_at, run.id))
    durations = [run.duration_seconds for run in runs]
    outcomes = Counter(run.outcome for run in runs)
    return FlowSummary(
        flow_name=name,
        runs=len(runs),
        outcomes=dict(outcomes),
        success_rate=success_rate(runs),
        median_seconds=percentile(durations, 50),
        p95_seconds=percentile(durations, 95),
        total_seconds=sum(durations),
        last_failure=next((run for run in reversed(runs) if run.outcome.is_failure), None),
        recent=tuple(runs[-RECENT:]),
    )


def summarise_tasks(tasks: Iterable[TaskRunRecord], runs: Iterable[FlowRunRecord]) -> list[TaskSummary]:
    """The figures of each task in each flow, those that took the most time first."""
    flow_names = {run.id: run.flow_name for run in runs}
    by_task: dict[tuple[str, str], list[TaskRunRecord]] = defaultdict(list)
    for task in tasks:
        by_task[flow_names[task.flow_run_id], task.task_name].append(task)
    summaries = [
        TaskSummary(
            flow_name=flow_name,
            task_name=task_name,
            runs=len(group),
            failures=sum(task.outcome.is_failure for task in group),
            retried=sum(task.attempts > 1 for task in group),
            median_seconds=percentile([task.duration_seconds for task in group], 50),
            total_seconds=sum(task.duration_seconds for task in group),
        )
        for (flow_name, task_name), group in by_task.items()
    ]
    return sorted(summaries, key=lambda task: (-task.total_seconds, task.flow_name, task.task_name))


def success_rate(runs: Iterable[FlowRunRecord]) -> float | None:
    """Completed over completed, failed and crashed; None where there is none of these."""
    outcomes = Counter(run.outcome for run in runs)
    judged = outcomes.total() - outcomes[Outcome.CANCELLED]
    return outcomes[Outcome.COMPLETED] / judged if judged else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, interpolated between its neighbours (as PERCENTILE_CONT in SQL)."""
    if not values:
        msg = "no values have no percentile"
        raise ValueError(msg)
    ordered = sorted(values)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
