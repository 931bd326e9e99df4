"""docs/how-to/pre-flight.md: its commands, its hook, its steps and its programs run in the project that `init` writes."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "how-to" / "pre-flight.md").read_text("utf-8"))
YAML: dict[str, Any] = {
    next(iter(data)): data for kind, text in BLOCKS if kind == "yaml" and (data := yaml.safe_load(text))
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prefect_lifespan.command.starting import start

    folder = tmp_path_factory.mktemp("pre-flight") / "project"
    start(folder)
    return folder


@pytest.fixture
def environment(prefect_server: str) -> dict[str, str]:
    """The command is the one that is installed here."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PREFECT_API_URL": prefect_server, "PATH": path}


def commands() -> list[str]:
    """Every call of the command that the page shows for a terminal or a job."""
    shown = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    jobs = [step["run"] for step in YAML["jobs"]["jobs"]["check"]["steps"] if "run" in step]
    hook = YAML["repos"]["repos"][0]["hooks"][0]
    return [c for c in (*shown, *jobs, " ".join([hook["entry"], *hook["args"]])) if c.startswith("prefect-lifespan ")]


@pytest.mark.parametrize("command", commands())
def test_a_command_ends_well(command: str, project: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - the documentation's own
        shlex.split(command), cwd=project, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    # The project's only setting has a value; strictly, there is nothing to say about it.
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_steps_of_the_work_pool_run_and_fail_with_the_probe(
    project: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.deployments.steps.core import StepExecutionError, run_steps

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project)
    steps: list[dict[str, Any]] = YAML["pull"]["pull"]
    steps[0]["prefect.deployments.steps.set_working_directory"]["directory"] = str(project)
    asyncio.run(run_steps(steps))

    monkeypatch.setenv("APP_DATABASE", "/proc/no/such/place.db")
    with pytest.raises(StepExecutionError) as failed:
        asyncio.run(run_steps(steps))
    assert "failed with error code 1" in str(failed.value.__cause__)


def test_the_flow_that_probes_prints_the_report(project: Path, environment: dict[str, str]) -> None:
    (program,) = [text for kind, text in BLOCKS if kind == "python" and "preflight" in text]
    (project / "preflight.py").write_text(program, "utf-8")
    done = subprocess.run(
        [sys.executable, "preflight.py"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert re.search(
        r"ok +database: opened in [\d.]+ s; healthy in [\d.]+ s; closed in [\d.]+ s", done.stdout + done.stderr
    )


def test_the_initialiser_with_a_health_check_can_be_declared() -> None:
    (program,) = [text for kind, text in BLOCKS if kind == "python" and "httpx" in text]
    exec(compile(program, "pre-flight.md", "exec"), {"__name__": "pre_flight"})  # noqa: S102 - the documentation's own


def test_the_hook_that_is_shipped_is_the_one_that_the_page_shows() -> None:
    (shipped,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    shown = dict(YAML["repos"]["repos"][0]["hooks"][0])
    shown.pop("args")
    assert {name: shipped[name] for name in shown} == shown
