"""What a person reads and fills in for a work pool of the type `lifespan`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from pydantic import ValidationError

from prefect_lifespan.warm_worker.configuration import LifespanJobConfiguration
from prefect_lifespan.warm_worker.worker import LifespanWorker

TEMPLATE = LifespanWorker.get_default_base_job_template()


def configured(**values: Any) -> LifespanJobConfiguration:
    """What becomes of a deployment's job variables."""
    nobody = PrefectClient("http://127.0.0.1:9/api")  # nothing here names a block or a variable
    return asyncio.run(LifespanJobConfiguration.from_template_and_values(TEMPLATE, values, client=nobody))


def test_the_form_asks_for_what_a_warm_process_has_and_for_nothing_else() -> None:
    properties = TEMPLATE["variables"]["properties"]
    assert [*properties] == [
        "container", "processes", "max_runs_per_process", "idle_seconds", "env", "working_dir", "health_check_seconds",
        "max_memory_mib", "drain_seconds", "stream_output", "command",
    ]  # fmt: skip
    assert all(each["title"] and each["description"].endswith(".") for each in properties.values())
    assert {*TEMPLATE["job_configuration"]} == {*properties}
    assert WorkPoolCreate(name="warm", type="lifespan", base_job_template=TEMPLATE).base_job_template == TEMPLATE


def test_a_deployments_variables_reach_its_configuration(tmp_path: Path) -> None:
    values = {
        "container": "app:App", "processes": 2, "idle_seconds": 1.5, "env": {"A": "b"}, "working_dir": str(tmp_path),
        "command": "python main.py",
    }  # fmt: skip
    configuration = configured(**values)

    found = configuration.model_dump(include=set(values), mode="json")
    assert found == values
    assert configured().max_runs_per_process is None


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"processes": 0}, "processes"),
        ({"idle_seconds": 0}, "idle_seconds"),
        ({"max_runs_per_process": 0}, "max_runs_per_process"),
        ({"max_memory_mib": -1}, "max_memory_mib"),
        ({"container": "app.py:App"}, "must be `package.module:Container`"),
        ({"container": "App"}, "must be `package.module:Container`"),
    ],
)
def test_what_cannot_be_is_told_before_a_process_starts(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        configured(**values)
