"""An orchestrator that is not there: the answers of Prefect's API, without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import Flow, FlowRun, State, StateType, TaskRun

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLOW = Flow(id=uuid4(), name="etl", labels={})


def flow_run(**changes: Any) -> FlowRun:
    values: dict[str, Any] = {
        "id": uuid4(),
        "flow_id": FLOW.id,
        "name": "able-ape",
        "state": State(type=StateType.COMPLETED, name="Completed"),
        "state_type": StateType.COMPLETED,
        "start_time": NOON,
        "end_time": NOON + timedelta(seconds=9),
        "total_run_time": timedelta(seconds=4.5),
        "run_count": 2,
    }
    return FlowRun(**{**values, **changes})


class FakeClient:
    """Answers as the API does: sorted, a slice at a time; and remembers what it was asked."""

    api_url = "http://user:hunter2@127.0.0.1:4200/api"
    server_type = None

    def __init__(self, flow_runs: list[FlowRun], task_runs: list[TaskRun] = []) -> None:  # noqa: B006
        self.runs, self.tasks = flow_runs, task_runs
        self.asked: list[tuple[int, int]] = []
        self.filters: list[Any] = []
        self.flow_reads = 0

    def read_flow_runs(self, *, flow_run_filter: Any, sort: Any, limit: int, offset: int) -> list[FlowRun]:
        self.asked.append((limit, offset))
        self.filters.append(flow_run_filter)
        return sorted(self.runs, key=lambda run: run.id, reverse=True)[offset : offset + limit]

    def read_task_runs(
        self, *, flow_run_filter: Any, task_run_filter: Any, sort: Any, limit: int, offset: int
    ) -> list[TaskRun]:
        parents = set(flow_run_filter.id.any_)
        return [run for run in self.tasks if run.flow_run_id in parents][offset : offset + limit]

    def read_flows(self, *, flow_filter: Any, limit: int) -> list[Flow]:
        self.flow_reads += 1
        return [FLOW] if FLOW.id in flow_filter.id.any_ else []
