"""Flows that a runner runs: triggered, cancelled, suspended and resumed through the API, as `flow.serve()` has it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.states import Cancelling
from sqlalchemy import URL

from tests.observability.artifacts import drawn_of
from tests.processes.running import Program, Programs, Zygote, connections, conninfo, eventually, reaches_state


@dataclass
class Serving:
    """A runner and a worker, and the runs that were triggered for them at once: starting them is what takes time."""

    runner: Program
    worker: Program
    runs: dict[str, UUID]
    warehouse: Path  # where the application's settings tell the worker's runs to keep their history,
    reports: Path  # and to report on it


@pytest.fixture(scope="session")
def database(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection | None]:
    """A PostgreSQL that sees whether a run holds a connection; None where none can be started."""
    try:
        url: URL = request.getfixturevalue("postgres_url")
    except pytest.skip.Exception:
        yield None
        return
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def serving(
    request: pytest.FixtureRequest,
    zygote: Zygote,
    tmp_path_factory: pytest.TempPathFactory,
    database: psycopg.Connection | None,
) -> Iterator[Serving]:
    """The flows of `programs.served` and the application's own, served by a runner or deployed to a worker."""
    folder = tmp_path_factory.mktemp("serving")
    warehouse, reports = folder / "warehouse.db", folder / "reports"
    programs = Programs(zygote, folder)
    environment = {
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "DATABASE_URL": conninfo(request.getfixturevalue("postgres_url")) if database is not None else "",
        "APP_WAREHOUSE__URL": f"sqlite:///{warehouse}",
        "APP_REPORTS__FOLDER": str(reports),
        "PREFECT_INTEGRATIONS_LIFESPAN_REPORT": "true",
        "PREFECT_INTEGRATIONS_LIFESPAN_REPORT_TIMEOUT_SECONDS": "60",  # an API that is busy is no subject here
    }
    runner = programs.start("served", **environment)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="processes", type="process"), overwrite=True)
        file = str(Path(__file__).parent / "programs" / "prefect.yaml")
        deploy = ("prefect.__main__", "--no-prompt", "deploy", "--all")
        deploying = [programs.start(*deploy, "--prefect-file", file), programs.start(*deploy)]
        runs = {
            "triggered": trigger(client, "stores/served", label="triggered"),
            "patient": trigger(client, "suspends/served", label="patient"),
            "held": trigger(client, "is-suspended/served", label="held"),
            "unwanted": trigger(client, "stores/served", label="unwanted", wait=True),
        }
        for each in deploying:
            assert each.ends() == 0, each.log()
        worker = programs.start("prefect.__main__", "worker", "start", "--pool", "processes", **environment)
        runs["refused"] = trigger(client, "stores/deployed", label="refused", wait=True)
        runs["recalled"] = trigger(client, "waits-on-a-loop/deployed", label="recalled")
        runs["history"] = trigger(client, "run-history/run-history")
    yield Serving(runner, worker, runs, warehouse, reports)
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

    # When the run notices is Prefect's affair: before its next task, after it, or too late. Whenever it is, what was
    # open closes as after a success; and where it had not gone on, it opens anew and does so when it is resumed.
    closed = ["close ledger none", "close db none"]
    first = of("held", serving.runner)
    assert first[:4] == ["open db", "open ledger", "stored 1, ledger open", "body"]
    assert first[-2:] == closed
    if "goes on" not in first:
        client.resume_flow_run(run)
        reaches_state(client, run, "Completed")
        second = of("held", serving.runner)[len(first) :]
        assert second[:2] == ["open db", "open ledger"]
        assert second[-3:] == ["goes on", *closed]


def test_a_triggered_run_opens_and_closes_in_its_own_process(client: SyncPrefectClient, serving: Serving) -> None:
    reaches_state(client, serving.runs["triggered"], "Completed")
    serving.runner.reaches("triggered hook Completed")

    assert of("triggered", serving.runner) == [
        "open db", "open ledger", "body, db open", "stored 3, ledger open",
        "close ledger none", "close db none", "hook Completed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("label", "reached", "closed", "ended"),
    [
        pytest.param(
            "unwanted",
            ["body, db open", "stored 3, ledger open"],
            ["close ledger TerminationSignal", "close db TerminationSignal"],
            "was terminated",
            id="by a runner",
        ),
        pytest.param(
            "refused",
            ["body, db open", "stored 3, ledger open"],
            ["close ledger TerminationSignal", "close db TerminationSignal"],
            "was terminated",
            id="by a worker",
        ),
        pytest.param(
            "recalled",
            ["body, feed open"],
            ["close feed CancelledError", "close ledger CancelledError", "close db CancelledError"],
            "was interrupted (CancelledError)",
            id="by a worker, asynchronous",
        ),
    ],
)
def test_a_run_cancelled_through_the_api_closes_and_its_hooks_fire_and_its_report_shows_that(
    client: SyncPrefectClient,
    serving: Serving,
    database: psycopg.Connection | None,
    label: str,
    reached: list[str],
    closed: list[str],
    ended: str,
) -> None:
    program = serving.runner if label == "unwanted" else serving.worker
    program.reaches(*(f"{label} {line}" for line in reached))
    lost = 0
    if database is not None:
        lost = abandoned(database)
        assert connections(database, label) == 1
    client.set_flow_run_state(serving.runs[label], Cancelling())
    reaches_state(client, serving.runs[label], "Cancelled")
    program.reaches(f"{label} hook Cancelling")  # which is called elsewhere, perhaps before the run's process has ended
    eventually(lambda: closed[-1] in of(label, program), "the run closes what it has opened", program.log)

    assert [line for line in of(label, program) if line.startswith("close")] == closed
    report = drawn_of(serving.runs[label])
    assert report.ended == ended
    closings = sorted((row.closing or 0.0, row.path) for row in report.rows if row.path != "witness")
    assert [path for _, path in closings] == [line.split()[1] for line in closed]
    if database is not None:
        eventually(lambda: connections(database, label) == 0, "the database has no connection of the run")
        assert abandoned(database) == lost


def abandoned(database: psycopg.Connection) -> int:
    """How many connections PostgreSQL has lost: their process ended without closing them."""
    query = "SELECT sessions_abandoned FROM pg_stat_database WHERE datname = current_database()"
    found = database.execute(query).fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("stores/deployed", ["label", "wait"]), ("run-history/run-history", ["since", "full", "report"])],
)
def test_a_deployments_form_shows_no_injected_name(
    client: SyncPrefectClient, serving: Serving, name: str, parameters: list[str]
) -> None:
    deployment = client.read_deployment_by_name(name)

    form = deployment.parameter_openapi_schema
    assert form is not None
    assert list(form["properties"]) == parameters


def test_the_application_as_its_own_prefect_yaml_deploys_it_runs_with_the_workers_settings(
    client: SyncPrefectClient, serving: Serving
) -> None:
    reaches_state(client, serving.runs["history"], "Completed")

    with closing(sqlite3.connect(serving.warehouse)) as warehouse:
        assert warehouse.execute("SELECT count(*) FROM watermarks").fetchone() == (1,)
    assert [report.suffix for report in serving.reports.iterdir()] == [".html"]
