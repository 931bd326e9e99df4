"""Reads finished runs from the Prefect API, page by page, as plain records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

from containers.errors import redact
from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord, Window

FINISHED = [StateType(outcome.value) for outcome in Outcome]
LONGEST_MESSAGE = 500

Item = TypeVar("Item")


class RunSource:
    """The API's finished runs. Safe from any thread, as the client is."""

    def __init__(self, client: SyncPrefectClient, page_size: int) -> None:
        self._client = client
        self._page_size = page_size

    @property
    def address(self) -> str:
        """Where the runs come from, fit for a report."""
        if self._client.server_type is ServerType.EPHEMERAL:
            return "Prefect's embedded server"  # its port is another one each time
        return f"the Prefect API at {redact(str(self._client.api_url))}"

    def flow_runs(self, window: Window) -> Iterator[list[FlowRunRecord]]:
        """The flow runs that ended in a window, in pages. With `until` in the past the set holds still while it is read."""
        names: dict[UUID, str] = {}
        ended = FlowRunFilter(
            end_time=FlowRunFilterEndTime.model_validate({"after_": window.since, "before_": window.until}),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=FINISHED)),
        )
        # By id: an order without ties, so that no run falls between two pages.
        for page in self._pages(
            lambda limit, offset: self._client.read_flow_runs(
                flow_run_filter=ended, sort=FlowRunSort.ID_DESC, limit=limit, offset=offset
            )
        ):
            self._learn_names({run.flow_id for run in page} - names.keys(), names)
            yield [record for run in page if (record := _flow_run_record(run, names)) is not None]

    def task_runs(self, flow_run_ids: Sequence[str]) -> Iterator[TaskRunRecord]:
        """The finished task runs of some flow runs."""
        if not flow_run_ids:
            return
        parents = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(key) for key in flow_run_ids]))
        finished = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=FINISHED)))
        for page in self._pages(
            lambda limit, offset: self._client.read_task_runs(
                flow_run_filter=parents,
                task_run_filter=finished,
                sort=TaskRunSort.ID_DESC,
                limit=limit,
                offset=offset,
            )
        ):
            yield from (record for run in page if (record := _task_run_record(run)) is not None)

    def _pages(self, read: Callable[[int, int], list[Item]]) -> Iterator[list[Item]]:
        offset = 0
        while page := read(self._page_size, offset):
            yield page
            if len(page) < self._page_size:
                return
            offset += len(page)

    def _learn_names(self, unknown: set[UUID], names: dict[UUID, str]) -> None:
        """Adds the names of flows; one that has been deleted since is called by its id."""
        if not unknown:
            return
        flows = self._client.read_flows(flow_filter=FlowFilter(id=FlowFilterId(any_=sorted(unknown))), limit=200)
        names.update({key: str(key) for key in unknown})
        names.update({flow.id: flow.name for flow in flows})


def _flow_run_record(run: FlowRun, names: dict[UUID, str]) -> FlowRunRecord | None:
    times = _times(run.start_time, run.end_time)
    if times is None or run.state is None:
        return None
    return FlowRunRecord(
        id=str(run.id),
        flow_name=names[run.flow_id],
        name=run.name,
        outcome=Outcome(run.state.type.value),
        state_name=run.state.name or run.state.type.value.title(),
        message=_message(run.state.message),
        started_at=times[0],
        ended_at=times[1],
        duration_seconds=_seconds(run.total_run_time),
        attempts=max(run.run_count, 1),
    )


def _task_run_record(run: TaskRun) -> TaskRunRecord | None:
    times = _times(run.start_time, run.end_time)
    if times is None or run.state is None or run.flow_run_id is None:
        return None
    return TaskRunRecord(
        id=str(run.id),
        flow_run_id=str(run.flow_run_id),
        task_name=run.name.rsplit("-", 1)[0],  # Prefect adds a suffix to tell the runs of one task apart
        outcome=Outcome(run.state.type.value),
        started_at=times[0],
        ended_at=times[1],
        duration_seconds=_seconds(run.total_run_time),
        attempts=max(run.run_count, 1),
    )


def _times(started_at: datetime | None, ended_at: datetime | None) -> tuple[datetime, datetime] | None:
    """Start and end; a run that never started (cancelled while late, say) began and ended at once."""
    return None if ended_at is None else (started_at or ended_at, ended_at)


def _seconds(duration: timedelta) -> float:
    return round(duration.total_seconds(), 6)


def _message(text: str | None) -> str | None:
    """A state's message without passwords, and no longer than a report can show."""
    if not text:
        return None
    text = redact(text.strip())
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
