"""The installed command, run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
COMMAND = Path(sys.executable).parent / "prefect-lifespan"


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said, as data."""
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run the installed command with these arguments."""

    def run(*arguments: str, cwd: Path = PROGRAMS, **environment: str) -> Done:
        done = subprocess.run(  # noqa: S603 - our own
            [COMMAND, *arguments],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "120", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


InProcess = Callable[..., int]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Run the command in this process, in the folder of the programs; its exit code."""
    from prefect_lifespan.command import app

    monkeypatch.chdir(PROGRAMS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: str) -> int:
        return app.run(arguments)

    return run
