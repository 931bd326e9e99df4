"""A flow inside `with lifespan(C):` joins that lifespan, and takes it to workers that end earlier or later than it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_lifespan import lifespan
from tests.processes.running import Programs
from tests.workers.losing import ENVIRONMENT
from tests.workers.programs.joined import Joined, joins, joins_and_fails

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    path = tmp_path / "marks"
    path.touch()
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.mark.xdist_group("dask")
def test_workers_that_outlive_a_flow_which_joined_close_with_the_lifespan(cluster: Any, marks: Path) -> None:
    from prefect_dask.task_runners import DaskTaskRunner

    runner: Any = DaskTaskRunner(address=cluster.scheduler_address)
    flow = joins.with_options(task_runner=runner)
    with lifespan(Joined, overrides={"marks": str(marks)}, eager=False):
        pid = flow()
        assert flow() == pid
        assert marks.read_text().splitlines() == [f"open {pid}"], "both runs use what the lifespan holds open"

    assert marks.read_text().splitlines() == [f"open {pid}", f"close {pid}"]


@pytest.mark.extended  # what ends with the flow is told on a pool as well
@pytest.mark.xdist_group("ray")
def test_workers_that_ray_ends_with_a_flow_which_joined_close_before_that(programs: Programs, marks: Path) -> None:
    pytest.importorskip("prefect_ray")
    # In a program: beside a cluster that this process is connected to, the flow would not have its own.
    program = programs.start("tests.workers.programs.joined", str(marks), **ENVIRONMENT)

    assert program.ends() == 0, program.log()
    opened, closed, left = marks.read_text().splitlines()
    pid = opened.removeprefix("open ")
    assert [closed, left] == [f"close {pid}", f"the flow has returned {pid}"]


@pytest.mark.xdist_group("pool")
def test_workers_of_a_pool_that_ends_with_a_flow_which_joined_are_told_how_that_ended(marks: Path) -> None:
    runner: Any = ProcessPoolTaskRunner(max_workers=1)
    with lifespan(Joined, overrides={"marks": str(marks)}, eager=False):
        with pytest.raises(ZeroDivisionError):
            joins_and_fails.with_options(task_runner=runner)()
        first, *told = [line.split(" ", 1) for line in marks.read_text().splitlines()]
        pid = first[1]
        assert told == [["fail", f"{pid} ZeroDivisionError"], ["close", pid]]

        pid = joins.with_options(task_runner=runner)()
        assert marks.read_text().splitlines()[3:] == [f"open {pid}", f"close {pid}"]
