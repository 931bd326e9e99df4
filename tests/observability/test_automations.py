"""Events reach Prefect's API, and an automation acts on them: on a server of its own, which looks at events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests import prefect_api
from tests.observability.artifacts import drawn_of
from tests.processes.running import ROOT, eventually


def trigger() -> dict[str, Any]:
    """That of docs/how-to/observability.md, as it stands there."""
    page = (ROOT / "docs" / "how-to" / "observability.md").read_text("utf-8")
    return json.loads(page.partition("```json\n")[2].partition("```")[0])


def test_an_automation_runs_a_deployment_when_a_resource_of_a_terminated_run_does_not_close() -> None:
    with (
        prefect_api.running(with_services=True, with_automations=True) as address,
        temporary_settings({PREFECT_API_URL: address}),
    ):
        prefect_api.wait(address)
        with get_client(sync_client=True) as client:
            cleaning = _deployment(client, "clean-up")
            action = {"type": "run-deployment", "source": "selected", "deployment_id": str(cleaning), "parameters": {}}
            _create(address, name="clean up", trigger=trigger(), actions=[action])
            ended = _run("terminated", address)
            assert ended.returncode == -signal.SIGTERM, ended.stderr
            runs = eventually(
                lambda: _runs_of(client, cleaning), "the automation runs the deployment", lambda: ended.stderr
            )
            assert len(runs) == 1
            (terminated,) = [run for run in client.read_flow_runs() if run.deployment_id != cleaning]
            assert drawn_of(terminated.id).ended == "was terminated"
    assert "hunter22" not in ended.stderr


@pytest.mark.extended  # what a worker process tells is seen in spans and reports by faster tests
def test_events_of_worker_processes_reach_the_api_before_these_end() -> None:
    with prefect_api.running(with_services=True, with_automations=True) as address:
        prefect_api.wait(address)
        driver = json.loads(_run("on_a_pool", address, PREFECT_INTEGRATIONS_LIFESPAN_EVENTS="all").stdout)
        (closing,) = eventually(
            lambda: _failed_elsewhere(address, driver["pid"]), "the warehouse of the worker process"
        )
    assert closing["payload"]["error"] == "cannot say goodbye to postgresql://me:***@db/app"
    assert closing["follows"]
    related = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in closing["related"]}
    assert related["flow-run"] == f"prefect.flow-run.{driver['run']}"
    assert "task-run" in related


def _run(program: str, address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of this folder that has come to its end; in this process, Prefect may send events to another API already."""
    return subprocess.run(  # noqa: S603 - of this folder
        [sys.executable, "-m", f"tests.observability.{program}"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": address, **environment},
        timeout=120,
        check=False,
        capture_output=True,
        text=True,
    )


def _failed_elsewhere(address: str, driver: int) -> list[dict[str, Any]]:
    wanted = {"filter": {"event": {"name": ["prefect-lifespan.resource.close-failed"]}}}
    events = httpx.post(f"{address}/events/filter", json=wanted).json()["events"]
    return [event for event in events if event["payload"]["pid"] != driver]


def _deployment(client: SyncPrefectClient, name: str) -> UUID:
    flow = client.create_flow_from_name(f"{name}-{uuid4()}")
    return client.create_deployment(flow_id=flow, name=name)


def _create(address: str, **automation: Any) -> None:
    answer = httpx.post(f"{address}/automations/", json=automation)
    assert answer.status_code == 201, answer.text


def _runs_of(client: SyncPrefectClient, deployment: UUID) -> list[Any]:
    return [run for run in client.read_flow_runs() if run.deployment_id == deployment]
