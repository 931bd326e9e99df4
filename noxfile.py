"""The oldest and the newest of what this library stands on: `make test-versions`, or `nox -s oldest` for one row.

Each session makes an environment of its own, installs the library as a wheel and runs the folders that take seconds, with
some flows. What came of it is a row of docs/versions.md. A Python that is not on this machine is skipped.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import nox

ROOT = Path(__file__).parent
PAGE = ROOT / "docs" / "versions.md"
TESTS = [
    *("tests/engine", "tests/graph", "tests/injection", "tests/scope", "tests/wiring", "tests/describing"),
    *("tests/lifespans/test_retries.py", "tests/lifespans/test_hooks.py", "tests/lifespans/test_subflows.py"),
    "tests/flows/test_patterns.py",
]
SHOWN = ("prefect", "dependency-injector", "pydantic-settings")
VERSIONS = f"import json; from importlib.metadata import version; print(json.dumps([version(n) for n in {SHOWN!r}]))"

nox.options.default_venv_backend = "uv|virtualenv"


@dataclass(frozen=True)
class Case:
    """A row: which Python, and what is held at an older release than the newest."""

    name: str
    python: str
    pins: tuple[str, ...] = ()


CASES = (
    # The lower bounds of pyproject.toml.
    Case("oldest", "3.11", ("prefect==3.8.4", "dependency-injector==4.49.0", "pydantic-settings==2.9.1")),
    Case("prefect-3.8", "3.11", ("prefect==3.8.*",)),
    Case("newest", "3.11"),
    Case("python-3.12", "3.12"),
    Case("python-3.13", "3.13"),
)


def interpreter(version: str) -> str | None:
    """A Python of that version which starts: by its name, or among pyenv's, whose shims start only what is chosen."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [path] if (path := shutil.which(f"python{version}")) else []
    for candidate in [*named, *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]:
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return candidate
    return None


def run(session: nox.Session, case: Case) -> None:
    """Install, test, and write the row."""
    if interpreter(case.python) is None:
        session.skip(f"there is no Python {case.python} on this machine")
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "app", "test")
    session.install(".", *case.pins, *groups)
    versions = json.loads(str(session.run("python", "-c", VERSIONS, silent=True)).splitlines()[-1])
    results = Path(session.create_tmp()) / "results.xml"
    command = ["pytest", "-q", "-p", "no:cacheprovider", "-m", "not extended", f"--junitxml={results}", *TESTS]
    env = {"PYTHONDONTWRITEBYTECODE": ""}
    session.run(*command, env=env, success_codes=[0, 1])
    suite = ET.parse(results).getroot().find("testsuite")  # noqa: S314  written by the run above
    assert suite is not None
    tests, failed, skipped = (int(suite.attrib[name]) for name in ("tests", "failures", "skipped"))
    failed += int(suite.attrib["errors"])
    told = (
        f"{tests - failed - skipped} passed"
        + f", {failed} failed" * bool(failed)
        + f", {skipped} skipped" * bool(skipped)
    )
    write_row(case.name, [case.name, case.python, *versions, told, f"{datetime.now(UTC):%Y-%m-%d}"])
    if failed:
        session.error(told)


def write_row(name: str, cells: list[str]) -> None:
    """Put a row into the page's table, instead of the one that it has of this name."""
    rows = {
        match[1]: match[0] for match in re.finditer(r"^\| ([\w.-]+) \| \d.*\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    }
    rows[name] = f"| {' | '.join(cells)} |"
    head, _, _ = PAGE.read_text("utf-8").partition("| --- ")
    line = "| --- " * len(cells) + "|\n"
    PAGE.write_text(head + line + "".join(f"{rows[case.name]}\n" for case in CASES if case.name in rows), "utf-8")


for each in CASES:
    nox.session(functools.partial(run, case=each), name=each.name, python=interpreter(each.python) or False)
