"""Drivers that are ended by a signal: what their workers hold open closes, as soon as each can know."""

from __future__ import annotations

import time
from signal import SIGINT, SIGTERM, Signals

import psutil
import pytest

from tests.workers.losing import Losing, Run, kill
from tests.workers.records import on

GRACE = 4.0


def closes_under_its_tasks(run: Run, signal: Signals) -> None:
    """Everything closes, with a failure, while the tasks still run, and within one grace; then these may end."""
    workers = run.begin()
    run.program.send(signal)
    sent = time.monotonic()
    outcomes = run.close([*workers, run.program.pid])
    took = time.monotonic() - sent
    assert not any("found" in line for line in run.program.marks())
    run.go()

    assert len(outcomes) == 3
    assert "none" not in outcomes.values()
    assert took < 2 * GRACE, "one grace for all, wherever tasks are waited for"


@pytest.mark.parametrize(
    ("flow", "signal"),
    [
        ("waiting_async", SIGTERM),
        pytest.param("waiting", SIGTERM, marks=pytest.mark.extended),
        pytest.param("waiting", SIGINT, marks=pytest.mark.extended),
    ],
)
def test_a_pool_closes_within_the_grace_of_a_signal_and_ends_as_without_us(
    losing: Losing, flow: str, signal: Signals
) -> None:
    plain = losing.start(flow.replace("waiting", "without"), "pool")
    run = losing.start(flow, "pool", GRACE=str(GRACE))
    closes_under_its_tasks(run, signal)
    plain.begin()
    plain.program.send(signal)
    plain.go()

    assert run.program.ends() == plain.program.ends()
    run.eventually(lambda: not run.left(), "all its processes end")


def test_a_signal_while_the_lifespan_waits_for_its_tasks_does_not_wait_without_limit(losing: Losing) -> None:
    run = losing.start("returning", "pool", GRACE=str(GRACE))
    closes_under_its_tasks(run, SIGTERM)

    assert run.program.ends() == -SIGTERM


@pytest.mark.parametrize("kind", on("dask", extended=["ray"]))
def test_a_cluster_that_ends_with_its_run_closes_before_that_on_a_signal(losing: Losing, kind: str) -> None:
    run = losing.start("waiting", kind, GRACE=str(GRACE))
    closes_under_its_tasks(run, SIGTERM)

    assert run.program.ends() != 0
    run.eventually(lambda: not run.left(), "all its processes end")


def test_a_pool_whose_driver_is_killed_closes_at_once(losing: Losing) -> None:
    run = losing.start("waiting", "pool")
    workers = run.begin()
    kill(run.program.pid)

    assert run.close(workers) == dict.fromkeys(workers, "Abandoned")
    run.go()
    for n in range(2):
        run.eventually(lambda n=n: f"task {n} found db closed" in run.program.marks(), "the tasks end")
    assert set(workers) <= run.left(), "Python's pools leave their workers behind, without us, too"


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        ("outliving dask", SIGTERM),
        pytest.param("outliving ray", SIGTERM, marks=pytest.mark.extended),
        pytest.param("outliving ray", SIGINT, marks=pytest.mark.extended),
        pytest.param("outliving dask", SIGINT, marks=pytest.mark.extended),
    ],
)
def test_a_cluster_that_outlives_its_driver_closes_on_a_signal(losing: Losing, kind: str, signal: Signals) -> None:
    run = losing.start("waiting", kind, GRACE=str(GRACE))
    closes_under_its_tasks(run, signal)

    assert run.program.ends() != 0
    opens_anew(losing, kind)


@pytest.mark.xdist_group("dask")
def test_a_dask_cluster_whose_driver_is_killed_closes_what_then_stands_unused(losing: Losing) -> None:
    run = losing.start("waiting", "outliving dask")
    workers = run.begin()
    kill(run.program.pid)
    run.go()

    assert run.close(workers) == dict.fromkeys(workers, "Abandoned")
    opens_anew(losing, "outliving dask")


@pytest.mark.extended
@pytest.mark.xdist_group("ray")
def test_ray_ends_the_workers_of_a_killed_driver_before_or_after_they_close(losing: Losing) -> None:
    run = losing.start("waiting", "outliving ray")
    workers = run.begin()
    kill(run.program.pid)

    run.eventually(lambda: not any(psutil.pid_exists(pid) for pid in workers), "they end")
    assert set(run.outcomes.values()) <= {"Abandoned"}
    opens_anew(losing, "outliving ray")


@pytest.mark.extended
@pytest.mark.xdist_group("dask")
def test_what_stands_unused_on_dask_stays_open_for_a_driver_that_lives(losing: Losing) -> None:
    living = losing.start("stopped", "outliving dask")
    living.begin()
    living.go()
    living.program.reaches("body ends")
    killed = losing.start("waiting", "outliving dask", beside=True)
    for n in range(2):
        done = f"task {n} found db open"
        killed.eventually(lambda done=done: killed.program.marks().count(done) == 2, "the tasks of both have ended")
    kill(killed.program.pid)
    killed.eventually(lambda: closed(killed).count("Abandoned") == 2, "what the killed one had opened closes")
    living.program.tell("end")

    assert living.end_of_flow() == "returned"
    assert sorted(closed(living)) == ["Abandoned", "Abandoned", "none", "none", "none"]


def closed(run: Run) -> list[str]:
    return [line.split()[-1] for line in run.program.marks() if line.startswith("close db")]


def opens_anew(losing: Losing, kind: str) -> None:
    """The next run has resources of its own, which close with it."""
    run = losing.start("results", kind)
    workers = run.begin()
    run.go()

    assert run.end_of_flow() == "returned"
    assert run.outcomes == dict.fromkeys([*workers, run.program.pid], "none")
