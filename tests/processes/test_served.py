"""Flows that a runner runs: triggered, cancelled, suspended and resumed through the API, as `flow.serve()` has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling

from tests.processes.running import Program, Programs, Zygote, eventually


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def runner(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """One runner that serves all flows of `programs.served`."""
    programs = Programs(zygote, tmp_path_factory.mktemp("served"))
    program = programs.start(
        "served", PREFECT_RUNNER_POLL_FREQUENCY="1", PREFECT_RUNNER_SERVER_ENABLE="false"
    )
    yield program
    program.kill()


def trigger(client: SyncPrefectClient, name: str, **parameters: object) -> UUID:
    """Create a run of a deployment, once that is there."""

    def deployment() -> Any:
        try:
            return client.read_deployment_by_name(name)
        except ObjectNotFound:
            return None

    found = eventually(deployment, f"{name} is deployed")
    return client.create_flow_run_from_deployment(found.id, parameters=parameters).id


def reaches_state(client: SyncPrefectClient, run: UUID, name: str) -> None:
    """Wait until a run is in a state."""

    def state() -> str:
        found = client.read_flow_run(run).state
        return found.name if found is not None else "none"

    eventually(lambda: state() == name, f"the run is {name}", state)


def of(label: str, program: Program) -> list[str]:
    """The lines about one run."""
    return [line.replace(f"{label} ", "", 1) for line in program.marks() if f"{label} " in line]


def test_a_triggered_run_opens_and_closes_in_its_own_process(client: SyncPrefectClient, runner: Program) -> None:
    run = trigger(client, "stores/served", label="triggered")
    reaches_state(client, run, "Completed")
    runner.reaches("triggered hook Completed")

    assert of("triggered", runner) == [
        "open db", "open ledger", "body, db open", "stored 3, ledger open",
        "close ledger none", "close db none", "hook Completed",
    ]  # fmt: skip


def test_a_run_cancelled_through_the_api_closes_and_its_hooks_fire(client: SyncPrefectClient, runner: Program) -> None:
    run = trigger(client, "stores/served", label="unwanted", wait=True)
    runner.reaches("unwanted body, db open", "unwanted stored 3, ledger open")
    client.set_flow_run_state(run, Cancelling())
    reaches_state(client, run, "Cancelled")
    runner.reaches("unwanted hook Cancelling")

    closes = [line for line in of("unwanted", runner) if line.startswith("close")]
    assert closes == ["close ledger TerminationSignal", "close db TerminationSignal"]


def test_a_run_that_suspends_itself_closes_and_opens_again_when_resumed(
    client: SyncPrefectClient, runner: Program
) -> None:
    run = trigger(client, "suspends/served", label="patient")
    reaches_state(client, run, "Suspended")
    runner.reaches("close patient db none")
    client.resume_flow_run(run)
    reaches_state(client, run, "Completed")

    assert of("patient", runner) == [
        "open db", "open ledger", "stored 1, ledger open", "suspends", "close ledger none", "close db none",
        "open db", "open ledger", "suspends", "goes on", "close ledger none", "close db none", "hook Completed",
    ]  # fmt: skip


def test_a_run_that_is_suspended_from_outside_closes_and_opens_again_when_resumed(
    client: SyncPrefectClient, runner: Program
) -> None:
    run = trigger(client, "is-suspended/served", label="held")
    runner.reaches("held body")
    asyncio.run(suspend_flow_run(run, timeout=300))
    runner.tell("held go on")
    runner.reaches("close held db none")
    client.resume_flow_run(run)
    reaches_state(client, run, "Completed")

    assert of("held", runner) == [
        "open db", "open ledger", "stored 1, ledger open", "body", "close ledger none", "close db none",
        "open db", "open ledger", "body", "stored 2, ledger open", "goes on", "close ledger none", "close db none",
    ]  # fmt: skip


def test_a_paused_run_keeps_its_resources_open(client: SyncPrefectClient, programs: Programs) -> None:
    program = programs.start("runs", "pausing")
    program.reaches("open cache")
    found = eventually(lambda: [line for line in program.marks() if line.startswith("run ")], "the run tells its id")
    run = UUID(found[0].split()[1])
    reaches_state(client, run, "Paused")
    assert not any(line.startswith("close") for line in program.marks())
    client.resume_flow_run(run)

    assert program.ends() == 0
    marks = [line for line in program.marks() if not line.startswith("run ")]
    assert marks == [
        "open db", "open ledger", "open cache", "resumed", "close cache none", "close ledger none", "close db none",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def worker(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A worker for a pool of processes, and a flow deployed to it from a prefect.yaml."""
    programs = Programs(zygote, tmp_path_factory.mktemp("worker"))
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="processes", type="process"), overwrite=True)
    worker = programs.start(
        "prefect.__main__", "worker", "start", "--pool", "processes",
        PREFECT_WORKER_QUERY_SECONDS="1", PREFECT_RUNNER_POLL_FREQUENCY="1",
    )  # fmt: skip
    file = str(Path(__file__).parent / "programs" / "prefect.yaml")
    deploying = programs.start("prefect.__main__", "--no-prompt", "deploy", "--all", "--prefect-file", file)
    assert deploying.ends() == 0, deploying.log()
    yield worker
    worker.kill()


def test_a_deployments_form_shows_no_injected_name(client: SyncPrefectClient, worker: Program) -> None:
    deployment = client.read_deployment_by_name("stores/deployed")

    assert list(deployment.parameter_openapi_schema["properties"]) == ["label", "wait"]


def test_a_worker_runs_it_and_cancelling_through_the_api_closes(client: SyncPrefectClient, worker: Program) -> None:
    done = trigger(client, "stores/deployed", label="worked")
    unwanted = trigger(client, "stores/deployed", label="refused", wait=True)
    worker.reaches("refused body, db open", "refused stored 3, ledger open")
    client.set_flow_run_state(unwanted, Cancelling())
    reaches_state(client, unwanted, "Cancelled")
    reaches_state(client, done, "Completed")
    worker.reaches("worked hook Completed", "refused hook Cancelling")

    assert of("worked", worker)[-3:] == ["close ledger none", "close db none", "hook Completed"]
    closes = [line for line in of("refused", worker) if line.startswith("close")]
    assert closes == ["close ledger TerminationSignal", "close db TerminationSignal"]
