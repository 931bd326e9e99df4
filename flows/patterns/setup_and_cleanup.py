"""Setup and cleanup around the work: a database connection and an API client, opened for the run, closed after it.

By hand: `connect()` at the top of the flow, `try/finally` around the rest, the connection as a parameter of every
task (and `cache_policy=NO_CACHE`, because it cannot be hashed). Here the tasks say what they need.
"""

from __future__ import annotations

from dependency_injector import providers
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from sqlalchemy import Connection

from containers.app import AppContainer
from containers.resources import open_ledger
from containers.services.journal import write_entry
from prefect_lifespan import Provide, inject, lifespan


class CensusContainer(AppContainer):
    """The application with one connection, and one transaction on it, for the whole run."""

    db_connection = providers.Resource(open_ledger, engine=AppContainer.warehouse)


@task(retries=2)
@inject
def count(state: StateType, api_client: SyncPrefectClient = Provide[CensusContainer.orchestrator]) -> int:
    """How many flow runs are in a state."""
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=[state]))
    return api_client.count_flow_runs(flow_run_filter=FlowRunFilter(state=states))


@task
@inject
def note(state: StateType, number: int, db_connection: Connection = Provide[CensusContainer.db_connection]) -> None:
    """Writes a count down, in the run's transaction."""
    write_entry(db_connection, "census", f"{state.value}: {number}")


@flow(name="census")
@lifespan(CensusContainer)
def census() -> dict[str, int]:
    """Counts the flow runs in each state, and writes the counts down: all of them or none."""
    states = [StateType.RUNNING, StateType.COMPLETED, StateType.FAILED]
    counts = {state: count(state) for state in states}
    for state, number in counts.items():
        note(state, number)
    return {state.value: number for state, number in counts.items()}


def demo() -> str:
    """Three runs, each with its own connection."""
    counts = [census() for _ in range(3)][-1]
    return ", ".join(f"{number} {state.lower()}" for state, number in counts.items())


if __name__ == "__main__":
    print(demo())
