"""An exception of a signal handler, at any line of the library in the main thread: nothing hangs, stays open or is lost."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.prefect_api import without_coverage

ROOT = Path(__file__).parents[2]
MODES = [
    "with", "decorated", "call", "joined", "first_use", "in_flight", "lanes", "failing", "generator", "carried", "everywhere",
    "reported",
]  # fmt: skip
ON_A_LOOP = [
    "async_with", "async_decorated", "async_first_use", "async_in_flight", "async_lanes", "async_failing", "async_generator",
    "async_reported", "async_shared",
]  # fmt: skip


def found(modes: list[str], step: int, how: str = "raise") -> list[Any]:
    """What came of each mode."""
    command = [sys.executable, "-m", "tests.lifespans.every_line", ",".join(modes), str(step), "0", how]
    env = without_coverage()
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=3600, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["mode"] for result in results] == modes
    assert all(result["tried"] for result in results)
    return results


def findings(results: list[Any]) -> list[str]:
    return [f"{result['mode']}: {finding}" for result in results for finding in result["findings"]]


@pytest.mark.parametrize(("modes", "how"), [(MODES, "raise"), (["with"], "signal")], ids=["raised", "by a signal"])
def test_an_exception_at_some_lines_leaves_nothing_open_and_is_not_swallowed(modes: list[str], how: str) -> None:
    assert findings(found(modes, 61, how)) == []


@pytest.mark.parametrize("how", ["raise", "signal"])
def test_a_signal_at_some_lines_on_an_event_loop_leaves_nothing_open_and_is_not_swallowed(how: str) -> None:
    assert findings(found(ON_A_LOOP, 151, how)) == []


def test_an_exception_where_tests_override_and_record_leaves_no_lock_taken() -> None:
    assert findings(found(["in_a_test"], 1)) == []


def each_by_itself(modes: list[str]) -> list[Any]:
    """A parameter for each mode, whose tests need not share a process with others of this file."""
    return [pytest.param(mode, marks=pytest.mark.xdist_group(f"every line, {mode}")) for mode in modes]


@pytest.mark.extended
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", each_by_itself([*MODES, *ON_A_LOOP, "async_joined", "async_call"]))
def test_an_exception_at_any_line_leaves_nothing_open_and_is_not_swallowed(mode: str) -> None:
    assert findings(found([mode], 1)) == []


@pytest.mark.extended
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", each_by_itself([*ON_A_LOOP, "async_joined", "async_call"]))
def test_a_signal_at_any_line_on_an_event_loop_leaves_nothing_open_and_is_not_swallowed(mode: str) -> None:
    assert findings(found([mode], 1, "signal")) == []
