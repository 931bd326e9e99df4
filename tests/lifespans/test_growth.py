"""A process that opens lifespans for as long as it lives keeps nothing of those that have ended."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from tests.prefect_api import without_coverage

# By itself: what other tests in a process have left comes to its end meanwhile. What the last run has left may do so a moment
# later, as a timer of an event loop keeps it: so there are several rounds, and one that has more or less does not count.
PROGRAM = """
import json
from benchmarks.growth import Left, flow_runs, one_lifespan

body, first, more = {body}, {first}, {more}
for _ in range(first):
    body()
left = [vars(Left.now())]
for _ in range(5):
    for _ in range(more):
        body()
    left.append(vars(Left.now()))
print(json.dumps(left))
"""


def grown(body: str, first: int, more: int) -> dict[str, float]:
    """What a process has more after each round of them than before it, as the median of five rounds."""
    command = [sys.executable, "-c", PROGRAM.format(body=body, first=first, more=more)]
    root = Path(__file__).parents[2]
    env = without_coverage()
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=200, check=True)  # noqa: S603 - its own
    left: list[dict[str, int]] = json.loads(done.stdout.splitlines()[-1])
    return {name: median(after[name] - before[name] for before, after in pairwise(left)) for name in left[0]}


def test_what_a_process_has_does_not_grow_with_the_number_of_its_lifespans() -> None:
    more = grown("one_lifespan", 50, 50)

    assert more["objects"] < 25  # half of one a lifespan
    assert (more["threads"], more["files"]) == (0, 0)


@pytest.mark.extended
def test_what_a_process_has_does_not_grow_with_the_number_of_its_flow_runs(prefect_server: str) -> None:
    more = grown("flow_runs()[0]", 10, 8)

    assert more["objects"] < 8  # one a run
    assert (more["threads"], more["files"]) == (0, 0)
