"""Workers that are lost, or that do not answer: what Prefect makes of it is as without us, and all others close."""

from __future__ import annotations

import os
from signal import SIGCONT, SIGSTOP

import pytest

from tests.workers.losing import Losing, Run, kill
from tests.workers.records import on

# One loss is enough for Dask and Ray, too; by themselves they run such a task three times more.
ONE_LOSS = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "RAY_TASK_MAX_RETRIES": "0"}

# What Prefect's pool says when a worker has taken the lock of the queue for logs along.
HELD = "Timed out waiting for process-pool message forwarding to stop"


@pytest.mark.parametrize("kind", on("pool", extended=["dask", "outliving ray"]))
def test_a_run_whose_worker_is_killed_fails_as_without_us_and_closes_everywhere_else(losing: Losing, kind: str) -> None:
    plain, _ = _loses_a_worker(losing, "plain_results", kind)
    run, lost = _loses_a_worker(losing, "results", kind)

    assert plain.end_of_flow() == run.end_of_flow()
    assert plain.program.exit_code == run.program.exit_code
    assert run.end_of_flow().startswith("raised")
    others = set(run.pids("open db")) - {lost}
    outcomes = run.close(others)  # a busy worker may take longer than its driver waits for it
    assert set(outcomes) == others
    assert run.program.pid in outcomes
    assert "none" not in outcomes.values()


def _loses_a_worker(losing: Losing, flow: str, kind: str) -> tuple[Run, int]:
    """A run whose worker was killed, when its flow has ended; and the worker.

    A worker of a pool that is killed while it passes a line of its log on holds the lock of Prefect's queue for ever, and
    the driver cannot end, with this library or without it (docs/limits.md). Such a kill says nothing: there is another.
    """
    for _ in range(3):
        run = losing.start(flow, kind, beside=False, **ONE_LOSS)
        lost, _ = run.begin()
        kill(lost)
        run.go()
        run.eventually(lambda run=run: run.program.has_ended() or HELD in run.program.log(), "the program ends")
        if HELD not in run.program.log():
            return run, lost
        run.end()
    raise AssertionError("each of three workers held the lock when it was killed")


@pytest.mark.parametrize("kind", on("outliving dask", extended=["outliving ray"]))
def test_a_task_that_is_run_again_after_its_worker_was_killed_finds_its_resource_open(
    losing: Losing, kind: str
) -> None:
    run = losing.start("results", kind)
    lost, _ = run.begin()
    kill(lost)
    run.go(1)
    run.eventually(lambda: run.pids("task 0")[-1] != lost, "the task is run again")
    run.go(0)

    assert run.end_of_flow() == "returned"
    assert "task 0 found db open" in run.program.marks()
    assert run.outcomes == dict.fromkeys(set(run.pids("open db")) - {lost}, "none")


@pytest.mark.parametrize("kind", on("pool", extended=["outliving dask", "outliving ray"]))
def test_a_worker_that_hangs_in_closing_holds_up_nobody_beyond_its_limit(losing: Losing, kind: str) -> None:
    run = losing.start("closing", kind)
    hanging, other = run.begin()
    run.program.tell(f"close hanging {other}")
    run.go()

    assert run.end_of_flow() == "raised ResourceTimeoutError:"
    assert sorted(run.pids("closing hanging")) == sorted([hanging, other])
    assert run.pids("close hanging") == [other]
    assert run.outcomes == {run.program.pid: "none"}


@pytest.mark.parametrize("kind", on("outliving dask", extended=["pool", "outliving ray"]))
def test_a_worker_that_is_stopped_is_given_up_and_named_in_the_log(losing: Losing, kind: str) -> None:
    run = losing.start("stopped", kind)
    stopped, other = run.begin()
    run.go()
    run.program.reaches("body ends")
    os.kill(stopped, SIGSTOP)
    try:
        run.program.tell("end")
        told = (
            "did not say that it closed" if "dask" in kind else f"process {stopped} did not close its resources in time"
        )
        run.eventually(lambda: told in run.program.log(), "the log says so")
        run.close([other, run.program.pid])
        assert stopped not in run.outcomes
    finally:
        os.kill(stopped, SIGCONT)

    assert run.end_of_flow() == "returned"
    assert run.close([stopped])[other] == "none"


@pytest.mark.xdist_group("dask")
def test_a_worker_that_joins_a_dask_cluster_during_a_run_closes_with_it(losing: Losing) -> None:
    run = losing.start("growing", "outliving dask")
    first = run.begin()
    losing.clusters["dask"].tell("join")
    run.program.tell("grow")
    (late,) = run.begin(2)
    run.go(0, 1, 2)

    assert late not in first
    assert run.end_of_flow() == "returned"
    assert run.outcomes == dict.fromkeys([*first, late, run.program.pid], "none")
