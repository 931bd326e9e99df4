"""Each pattern by itself: what it says came of it, and what it prints on the way."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import __main__ as demo
from flows import patterns

FOLDER = Path(patterns.__file__).parent
NAMES = sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]))
# What each prints before its last line, which is what came of it.
EXPECTED = {
    "async_resources": [
        *(f"the moon answers call {number}" for number in range(3)),
        "3 visits at the same time",
    ],
    "background_tasks": ["8 pages in the archive when it closes", "8 pages were submitted, and none awaited"],
    "blocks_as_resources": ["alice signs in with 13 characters: **********"],
    "commit_or_rollback": ["3 transfers, one of them to nobody: 4 bookings, which add up to 0"],
    "completion_hooks": [
        "warehouse: take-stock is Completed",
        "warehouse: take-stock is Failed",
        "Completed, Failed (the last one on purpose)",
    ],
    "concurrency_slots": ["the answer is 42, with 1 of 3 slots taken in the run and 0 after it"],
    "context_manager": ["the database is closed", "Emma and Walden, without a flow run"],
    "model_in_the_process": [
        "loading the model",
        "apple: fruit, leek: vegetable, stone: neither",
        "unloading the model",
    ],
    "overrides_in_a_test": ["1 test passed, and the production database was never opened"],
    "retries": [
        *("the partner is engaged", "the partner is engaged"),
        *("the partner takes apples", "the partner takes pears"),
        "2 orders sent",
    ],
    "setup_and_cleanup": ["the database is closed", "200 visitors"],
    "shared_application": [
        *("the database opens", "the database closes"),
        "3 flow runs stored 4 measurements by one connection",
    ],
    "subflows": ["apples was sale 1, figs was sale 1 of a rehearsal, pears was sale 2"],
    "worker_processes": ["[1, 4, 9, 16], calculated in other processes"],
}
# As somebody types it: the containers stand in `__main__`, and nothing of this project is on the path.
AS_FILES = """
import runpy, sys
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
    for path in sys.argv[1:]:
        print(f"# {path}")
        runpy.run_path(path, run_name="__main__")
"""


def run(arguments: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PYTHONWARNINGS": "error::ResourceWarning"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        timeout=200,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("prefect_server")
def test_each_file_runs_alone_and_prints_what_it_is_about(tmp_path: Path) -> None:
    """In one process, for the sake of time; but what needs a `__main__` that can be imported again, or closes at its end."""
    alone = ["model_in_the_process", "worker_processes"]
    paths = [str(FOLDER / f"{name}.py") for name in NAMES if name not in alone]

    parts = re.split(r"^# (.*)\n", run(["-c", AS_FILES, *paths], tmp_path), flags=re.MULTILINE)
    printed = {Path(path).stem: text.splitlines() for path, text in zip(parts[1::2], parts[2::2], strict=True)}
    for name in alone:
        printed[name] = run([str(FOLDER / f"{name}.py")], tmp_path).splitlines()

    assert printed == EXPECTED
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.extended
@pytest.mark.usefixtures("prefect_server")
def test_a_pattern_runs_as_a_module_too() -> None:
    assert run(["-m", "flows.patterns.retries"], FOLDER.parents[1]).splitlines() == EXPECTED["retries"]


def test_make_run_shows_every_pattern_and_the_list_of_them_names_each() -> None:
    shown = [demo.WITHOUT_AN_API, *demo.PATTERNS]

    assert sorted(pattern.__name__.rpartition(".")[2] for pattern in shown) == NAMES == sorted(EXPECTED)
    assert sorted(re.findall(r"^\| (\w+) \|", patterns.__doc__ or "", re.MULTILINE)) == sorted(["file", *NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_a_pattern_is_short_and_stands_on_this_library_alone(name: str) -> None:
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))

    assert 25 <= len(source.splitlines()) <= 60
    assert imported - set(sys.stdlib_module_names) <= {"dependency_injector", "prefect", "prefect_lifespan", "pydantic"}
    assert callable(importlib.import_module(f"flows.patterns.{name}").demo)


def test_the_application_and_the_patterns_are_well_by_the_librarys_own_check() -> None:
    done = run(["-m", "prefect_lifespan", "check", "--strict", "containers", "flows"], FOLDER.parents[1])

    assert done.startswith("Nothing found in 14 containers")
