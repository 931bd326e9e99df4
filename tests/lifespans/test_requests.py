"""A lifespan asks Prefect's API for nothing: a run with one sends what the same run sends that opens and closes by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.one_run import Run, pairs, requests_of

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize("how", ["submitted", "called"])
def test_a_run_of_ten_resources_and_twenty_tasks_sends_what_one_by_hand_sends(how: str) -> None:
    by_hand, in_a_lifespan = pairs(20)[f"20 tasks, {how}"]

    assert sent_by(in_a_lifespan) == sent_by(by_hand)


def sent_by(run: Run) -> Counter[str]:
    """What a run sends that is not its first; but for the log, which goes in batches by time, and tokens of clients for it."""
    run()
    return Counter(each for each in requests_of(run) if not each.endswith(("/logs/", "/csrf-token")))
