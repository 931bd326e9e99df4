"""A process that opens lifespans for as long as it lives keeps nothing of those that have ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# By itself: what other tests in a process have left comes to its end meanwhile.
PROGRAM = """
import json
from benchmarks.growth import Left, one_lifespan

for _ in range(50):
    one_lifespan()
before = Left.now()
for _ in range(200):
    one_lifespan()
print(json.dumps([vars(before), vars(Left.now())]))
"""


def test_what_a_process_has_does_not_grow_with_the_number_of_its_lifespans() -> None:
    command = [sys.executable, "-c", PROGRAM]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - its own
    before, after = json.loads(done.stdout)

    assert after["objects"] - before["objects"] < 100
    assert (after["threads"], after["files"]) == (before["threads"], before["files"])
