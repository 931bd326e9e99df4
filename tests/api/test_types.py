"""Types survive: a program that uses the library passes pyright's strict mode and runs, and misuse does not pass."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "typed_program.py"
PYRIGHT = Path(sys.executable).parent / "pyright"


def checked(program: Path, folder: Path) -> list[str]:
    """What pyright, strict, says about a program."""
    config = folder / "pyrightconfig.json"
    settings: dict[str, Any] = {
        "include": [str(program)],
        "typeCheckingMode": "strict",
        "reportMissingTypeStubs": False,
    }
    config.write_text(json.dumps(settings))
    command = [str(PYRIGHT), "--project", str(config), "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)  # noqa: S603
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return [f"{d['range']['start']['line'] + 1}: {d['message']}" for d in report["generalDiagnostics"]]


def test_the_program_runs():
    runpy.run_path(str(PROGRAM))


@pytest.mark.skipif(not PYRIGHT.exists(), reason="pyright belongs to the lint group, which is not installed")
def test_the_program_passes_the_strict_mode_of_pyright(tmp_path: Path):
    program = Path(shutil.copy(PROGRAM, tmp_path))
    assert checked(program, tmp_path) == []


@pytest.mark.skipif(not PYRIGHT.exists(), reason="pyright belongs to the lint group, which is not installed")
def test_a_wrong_argument_of_an_injected_function_does_not_pass(tmp_path: Path):
    program = tmp_path / "wrong.py"
    program.write_text(
        PROGRAM.read_text()
        + '\nblocking("text")\nflow_function("text")\noverridden()\nlifespan(App, on_close_error="ignore")\n'
    )
    lines = program.read_text().count("\n")
    assert [int(message.partition(":")[0]) for message in checked(program, tmp_path)] == list(
        range(lines - 3, lines + 1)
    )
