"""Suspending closes and resuming opens again; pausing keeps open. Synchronous flows that suspend: see test_served.py."""

from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.flow_runs import suspend_flow_run

from tests.processes.running import Program, Programs, eventually, reaches_state

OPENED = ["open db", "open pool", "open feed"]
CLOSED = ["close feed none", "close pool none", "close db none"]


def deployed(client: SyncPrefectClient, name: str) -> UUID:
    """A run of a flow of `programs.runs`: only a deployment's can be suspended. No runner and no worker takes it."""
    flow = client.create_flow_from_name(name.replace("_", "-"))
    deployment = client.create_deployment(flow, name, entrypoint=f"tests/processes/programs/runs.py:{name}")
    return client.create_flow_run_from_deployment(deployment).id


def runs(programs: Programs, run: UUID, name: str) -> Program:
    """A process that does with the run what a runner would."""
    entrypoint = f"tests/processes/programs/runs.py:{name}"
    return programs.start("prefect.engine", str(run), PREFECT__FLOW_ENTRYPOINT=entrypoint)


def test_an_async_run_that_suspends_itself_closes_and_opens_again_when_resumed(
    client: SyncPrefectClient, programs: Programs
) -> None:
    run = deployed(client, "suspending")
    first = runs(programs, run, "suspending")
    assert first.ends() == 0, first.log()
    reaches_state(client, run, "Suspended")
    client.resume_flow_run(run)
    second = runs(programs, run, "suspending")
    assert second.ends() == 0, second.log()
    reaches_state(client, run, "Completed")

    assert first.marks() == [*OPENED, "kept 1, feed open", "suspends", *CLOSED]
    assert second.marks() == [*OPENED, "suspends", "goes on", *CLOSED]


def test_an_async_run_that_is_suspended_from_outside_leaves_nothing_open_whenever_it_notices(
    client: SyncPrefectClient, programs: Programs
) -> None:
    run = deployed(client, "suspended_from_outside")
    first = runs(programs, run, "suspended_from_outside")
    first.reaches("body")
    suspend_flow_run(flow_run_id=run, timeout=300)
    first.tell("go on")
    assert first.ends() == 0, first.log()

    # When it notices is Prefect's affair: before its next task, after it, or too late.
    assert first.marks()[:5] == [*OPENED, "kept 1, feed open", "body"]
    assert first.marks()[-3:] == CLOSED
    if "goes on" not in first.marks():
        client.resume_flow_run(run)
        second = runs(programs, run, "suspended_from_outside")
        second.tell("go on")
        assert second.ends() == 0, second.log()
        assert second.marks()[:3] == OPENED
        assert second.marks()[-4:] == ["goes on", *CLOSED]


@pytest.mark.parametrize(
    ("which", "opened", "closed"),
    [
        ("pausing", ["db", "ledger", "cache"], ["cache", "ledger", "db"]),
        ("asynchronous_pausing", ["db", "pool", "feed"], ["feed", "pool", "db"]),
    ],
)
def test_a_paused_run_keeps_its_resources_open(
    client: SyncPrefectClient, programs: Programs, which: str, opened: list[str], closed: list[str]
) -> None:
    program = programs.start("runs", which)
    found = eventually(lambda: [line for line in program.marks() if line.startswith("run ")], "the run tells its id")
    run = UUID(found[0].split()[1])
    reaches_state(client, run, "Paused")
    assert not any(line.startswith("close") for line in program.marks())
    client.resume_flow_run(run)

    assert program.ends() == 0
    marks = [line for line in program.marks() if not line.startswith("run ")]
    assert marks == [*(f"open {name}" for name in opened), "resumed", *(f"close {name} none" for name in closed)]
