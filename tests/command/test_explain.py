"""`explain` says where each setting comes from, for containers and for classes of settings, with secrets masked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command.conftest import PROGRAMS, InProcess, Run

ROOT = Path(__file__).parents[2]
Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("target", ["plain:Plain", "plain.py:Settings"])
def test_json_is_as_the_design_says_of_a_container_and_of_a_class(target: str, run: Run) -> None:
    done = run("explain", target, "--format", "json", PLAIN_URL="https://me:hunter22@host")
    assert done.code == 0, done.err
    assert done.json == {
        "fields": [
            {"path": "plain_url", "value": "https://me:***@host", "source": "environment variable PLAIN_URL"},
            {"path": "plain_key", "value": "***", "source": "default"},
        ]
    }


def test_the_table_has_no_secrets(capsys: Output, in_process: InProcess) -> None:
    assert in_process("explain", "plain:Plain") == 0
    told = capsys.readouterr().out
    assert "plain_url" in told
    assert "postgresql://me:***@host/db" in told
    assert "hunter2" not in told


def test_settings_that_cannot_be_made_are_explained_and_fail(
    capsys: Output, in_process: InProcess, prefect_server: str
) -> None:
    assert in_process("explain", "faults.settings:Configured", "-f", "json") == 1
    out, err = capsys.readouterr()
    paths = {each["path"]: each["source"] for each in json.loads(out)["fields"]}
    assert paths == {
        "settings.url": "missing",
        "settings.page_size": "default",
        "numbers.command_test_number": "default",
    }
    assert "error: url is missing; looked for in environment variable COMMAND_TEST_URL" in err
    assert "error: command_test_number: Input should be a valid integer" in err


def test_a_container_without_settings_says_so(capsys: Output, in_process: InProcess) -> None:
    assert in_process("explain", "plain:Other") == 2
    assert capsys.readouterr().err.startswith("error: Other makes no settings\n  Cure: declare them in it")


def test_the_settings_of_the_reference_application_are_explained(run: Run, prefect_server: str) -> None:
    done = run("explain", "containers.app:AppContainer", "-f", "json", cwd=ROOT, PREFECT_API_URL=prefect_server)
    assert done.code == 0, done.err
    sources = {each["path"]: each["source"] for each in done.json["fields"]}
    assert sources["orchestrator.page_size"] == "settings.toml"
    assert PROGRAMS.name not in done.out
