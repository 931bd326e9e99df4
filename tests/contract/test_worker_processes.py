"""How worker processes end, and what Dask and Ray let a driver do in them: what `workers` closes resources by."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from tests.contract import exiting

pytestmark = [
    pytest.mark.extended,
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]

PATIENCE_SECONDS = 60


def ended(method: Any, marks: Path, ending: str) -> tuple[list[str], int | None]:
    """What a child process of multiprocessing ran at its end, and its exit code."""
    child = multiprocessing.get_context(method).Process(target=exiting.child, args=(str(marks), ending))
    child.start()
    child.join(PATIENCE_SECONDS)
    return marks.read_text().split(), child.exitcode


@pytest.mark.parametrize(
    ("method", "ran"),
    [("spawn", ["finalizer", "atexit"]), ("forkserver", ["finalizer"])],
)
@pytest.mark.parametrize(("ending", "code"), [("returns", 0), ("exits", 143)])
def test_a_child_process_that_ends_in_order_runs_its_finalisers_first(
    method: str, ran: list[str], ending: str, code: int, tmp_path: Path
) -> None:
    """Why `exits` registers both: not every way to start one runs `atexit`."""
    assert ended(method, tmp_path / "marks", ending) == (ran, code)


def test_sigterm_ends_a_child_process_without_any_hook_unless_it_is_handled(tmp_path: Path) -> None:
    """Why `exits` handles SIGTERM where nobody does."""
    marks = tmp_path / "marks"
    marks.touch()
    assert ended("spawn", marks, "terminated") == ([], -signal.SIGTERM)


def test_a_child_process_is_started_with_the_default_handler_of_sigterm_and_knows_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How `exits` tells a worker process, whose SIGTERM is nobody else's."""
    for variable in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):  # with which coverage handles it
        monkeypatch.delenv(variable, raising=False)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(exiting.handles).result(PATIENCE_SECONDS) == (True, os.getpid())
    assert multiprocessing.parent_process() is None


def test_a_pool_that_loses_a_worker_ends_the_others_by_sigterm(tmp_path: Path) -> None:
    """If this fails, those that survive close with the driver, or never."""
    marks = tmp_path / "marks"
    pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    with pool:
        futures = [pool.submit(exiting.holds, str(marks)) for _ in range(2)]
        victim, survivor = exiting.met(str(marks), 2)
        # What watches them looks which there are when something is submitted, and may do so before that has begun one.
        pool.submit(os.getpid)
        os.kill(victim, signal.SIGKILL)
        for future in futures:
            with pytest.raises(BrokenProcessPool):
                future.result(PATIENCE_SECONDS)
    assert f"terminated-{survivor}" in marks.read_text().split()


# --------------------------------------------------------------------------------------------------------------- Dask


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a cluster with one worker process."""
    distributed: Any = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_dask_calls_a_function_on_named_workers_while_their_tasks_run(client: Any, tmp_path: Path) -> None:
    """How a worker closes that is busy with something else: not in the queue of tasks, beside its event loop."""
    marks = tmp_path / "marks"
    (worker,) = client.scheduler_info(n_workers=-1)["workers"]
    busy = client.submit(exiting.meets, str(marks), 2, pure=False)
    (pid,) = exiting.met(str(marks), 1)

    async def where() -> Any:
        return os.getpid(), threading.current_thread() is threading.main_thread(), await asyncio.to_thread(os.getpid)

    assert client.run(where, workers=[worker], on_error="raise") == {worker: (pid, True, pid)}
    assert not busy.done()
    exiting.join(str(marks))
    assert busy.result(PATIENCE_SECONDS) == pid


def test_dask_tells_a_worker_that_it_is_one_and_any_other_process_that_it_is_none(client: Any) -> None:
    """How a link knows whether the scheduler will tell its process."""
    from distributed import get_worker

    def address() -> str:
        return get_worker().address

    (worker,) = client.scheduler_info(n_workers=-1)["workers"]
    assert client.submit(address, pure=False).result(PATIENCE_SECONDS) == worker
    with pytest.raises(ValueError, match="No worker found"):
        get_worker()


def test_dask_unpickles_in_the_process_that_submits_too(client: Any) -> None:
    """Why nothing may open, connect or be remembered when a reference is unpickled."""
    exiting.UNPICKLED.clear()
    client.submit(exiting.takes, exiting.Counted(), pure=False).result(PATIENCE_SECONDS)
    assert set(exiting.UNPICKLED) == {os.getpid()}


def test_a_client_of_dask_says_when_it_is_closed() -> None:
    """How it is seen that a cluster has ended with its runner."""
    distributed: Any = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        assert client.status == "running"
    assert client.status == "closed"


# ---------------------------------------------------------------------------------------------------------------- Ray


def test_ray_ends_its_workers_without_any_hook_and_a_runner_knows_whether_it_has_started_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why everything on Ray closes while the driver is there; which flows have to say so before their runner ends."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytest.importorskip("prefect_ray")
    marks = tmp_path / "marks"
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pid = pool.submit(exiting.on_ray_of_its_own, str(marks)).result(PATIENCE_SECONDS)
    exiting.wait_for_end(pid)
    assert not marks.exists()
