"""A process that opens lifespans for as long as it lives keeps nothing of those that have ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# By itself: what other tests in a process have left comes to its end meanwhile.
PROGRAM = """
import json
from benchmarks.growth import Left, flow_runs, one_lifespan

body, first, more = {body}, {first}, {more}
for _ in range(first):
    body()
before = Left.now()
for _ in range(more):
    body()
print(json.dumps([vars(before), vars(Left.now())]))
"""


def left(body: str, first: int, more: int) -> tuple[dict[str, int], dict[str, int]]:
    """What a process has after the first, and after more of them."""
    command = [sys.executable, "-c", PROGRAM.format(body=body, first=first, more=more)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200, check=True)  # noqa: S603 - its own
    before, after = json.loads(done.stdout.splitlines()[-1])
    return before, after


def test_what_a_process_has_does_not_grow_with_the_number_of_its_lifespans() -> None:
    before, after = left("one_lifespan", 50, 200)

    assert after["objects"] - before["objects"] < 100
    assert (after["threads"], after["files"]) == (before["threads"], before["files"])


@pytest.mark.extended
def test_what_a_process_has_does_not_grow_with_the_number_of_its_flow_runs(prefect_server: str) -> None:
    before, after = left("flow_runs()[0]", 10, 30)

    assert after["objects"] - before["objects"] < 60  # two a run
    assert (after["threads"], after["files"]) == (before["threads"], before["files"])
