"""An exception of a signal handler, at any line of the library in the main thread: nothing hangs, stays open or is lost."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("every_line.py")
MODES = ["with", "decorated", "call", "joined", "first_use", "in_flight", "lanes", "failing", "generator", "carried"]
ON_A_LOOP = [
    "async_with", "async_decorated", "async_first_use", "async_in_flight", "async_lanes", "async_failing", "async_generator",
]  # fmt: skip


def found(mode: str, step: int, how: str = "raise") -> Any:
    arguments = [sys.executable, str(PROGRAM), mode, str(step), "0", how]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=3600)  # noqa: S603
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("mode", "how"), [*((mode, "raise") for mode in MODES), ("with", "signal")])
def test_an_exception_at_some_lines_leaves_nothing_open_and_is_not_swallowed(mode: str, how: str) -> None:
    result = found(mode, 151, how)
    assert result["tried"]
    assert result["findings"] == []


@pytest.mark.parametrize("how", ["raise", "signal"])
@pytest.mark.parametrize("mode", ON_A_LOOP)
def test_a_signal_at_some_lines_on_an_event_loop_leaves_nothing_open_and_is_not_swallowed(mode: str, how: str) -> None:
    result = found(mode, 397, how)
    assert result["tried"]
    assert result["findings"] == []


@pytest.mark.extended
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [*MODES, *ON_A_LOOP, "async_joined", "async_call"])
def test_an_exception_at_any_line_leaves_nothing_open_and_is_not_swallowed(mode: str) -> None:
    assert found(mode, 1)["findings"] == []


@pytest.mark.extended
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [*ON_A_LOOP, "async_joined", "async_call"])
def test_a_signal_at_any_line_on_an_event_loop_leaves_nothing_open_and_is_not_swallowed(mode: str) -> None:
    assert found(mode, 1, "signal")["findings"] == []
