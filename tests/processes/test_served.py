"""Flows that a runner runs: triggered, cancelled, suspended and resumed through the API, as `flow.serve()` has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.states import Cancelling

from tests.processes.running import Program, Programs, Zygote, eventually


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@dataclass
class Serving:
    """A runner and a worker, and the runs that were triggered for them at once: starting them is what takes time."""

    runner: Program
    worker: Program
    runs: dict[str, UUID]


@pytest.fixture(scope="module")
def serving(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """All flows of `programs.served`, served by a runner; one of them also deployed to a worker by a prefect.yaml."""
    programs = Programs(zygote, tmp_path_factory.mktemp("serving"))
    polling = {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_WORKER_QUERY_SECONDS": "1"}
    runner = programs.start("served", **polling)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="processes", type="process"), overwrite=True)
        file = str(Path(__file__).parent / "programs" / "prefect.yaml")
        deploying = programs.start("prefect.__main__", "--no-prompt", "deploy", "--all", "--prefect-file", file)
        runs = {
            "triggered": trigger(client, "stores/served", label="triggered"),
            "patient": trigger(client, "suspends/served", label="patient"),
            "held": trigger(client, "is-suspended/served", label="held"),
            "unwanted": trigger(client, "stores/served", label="unwanted", wait=True),
        }
        assert deploying.ends() == 0, deploying.log()
        worker = programs.start("prefect.__main__", "worker", "start", "--pool", "processes", **polling)
        runs["refused"] = trigger(client, "stores/deployed", label="refused", wait=True)
    yield Serving(runner, worker, runs)
    runner.kill()
    worker.kill()


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
        return str(found.name) if found is not None else "none"

    eventually(lambda: state() == name, f"the run is {name}", state)


def of(label: str, program: Program) -> list[str]:
    """The lines about one run."""
    return [line.replace(f"{label} ", "", 1) for line in program.marks() if f"{label} " in line]


def test_a_run_that_suspends_itself_closes_and_opens_again_when_resumed(
    client: SyncPrefectClient, serving: Serving
) -> None:
    run = serving.runs["patient"]
    reaches_state(client, run, "Suspended")
    serving.runner.reaches("close patient db none")
    client.resume_flow_run(run)
    reaches_state(client, run, "Completed")
    serving.runner.reaches("patient hook Completed")

    assert of("patient", serving.runner) == [
        "open db", "open ledger", "stored 1, ledger open", "suspends", "close ledger none", "close db none",
        "open db", "open ledger", "suspends", "goes on", "close ledger none", "close db none", "hook Completed",
    ]  # fmt: skip


def test_a_run_that_is_suspended_from_outside_leaves_nothing_open_whenever_it_notices(
    client: SyncPrefectClient, serving: Serving
) -> None:
    run = serving.runs["held"]
    serving.runner.reaches("held body")
    suspend_flow_run(flow_run_id=run, timeout=300)
    serving.runner.tell("held go on")
    serving.runner.reaches("close held db none")
    client.resume_flow_run(run)
    reaches_state(client, run, "Completed")

    # When the run notices is Prefect's affair: before its next task, after it, or too late. Whenever it is, what was
    # open closes as after a success, and what goes on opens anew.
    lines = of("held", serving.runner)
    opened = [line for line in lines if line.startswith("open")]
    assert opened in (["open db", "open ledger"], ["open db", "open ledger"] * 2)
    closed = [line for line in lines if line.startswith("close")]
    assert closed == ["close ledger none", "close db none"] * (len(opened) // 2)
    assert lines.count("goes on") == 1


def test_a_triggered_run_opens_and_closes_in_its_own_process(client: SyncPrefectClient, serving: Serving) -> None:
    reaches_state(client, serving.runs["triggered"], "Completed")
    serving.runner.reaches("triggered hook Completed")

    assert of("triggered", serving.runner) == [
        "open db", "open ledger", "body, db open", "stored 3, ledger open",
        "close ledger none", "close db none", "hook Completed",
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["unwanted", "refused"], ids=["by a runner", "by a worker"])
def test_a_run_cancelled_through_the_api_closes_and_its_hooks_fire(
    client: SyncPrefectClient, serving: Serving, label: str
) -> None:
    program = serving.runner if label == "unwanted" else serving.worker
    program.reaches(f"{label} body, db open", f"{label} stored 3, ledger open")
    client.set_flow_run_state(serving.runs[label], Cancelling())
    reaches_state(client, serving.runs[label], "Cancelled")
    program.reaches(f"{label} hook Cancelling")

    closes = [line for line in of(label, program) if line.startswith("close")]
    assert closes == ["close ledger TerminationSignal", "close db TerminationSignal"]


def test_a_deployments_form_shows_no_injected_name(client: SyncPrefectClient, serving: Serving) -> None:
    deployment = client.read_deployment_by_name("stores/deployed")

    form = deployment.parameter_openapi_schema
    assert form is not None
    assert list(form["properties"]) == ["label", "wait"]


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
