"""The worker type `lifespan`: runs in warm processes, with real workers, processes, signals and a real API."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Cancelling

from tests.processes.running import Programs, Zygote, eventually, reaches_state
from tests.processes.warm import WarmPool


@pytest.fixture(scope="module")
def api(prefect_server: str) -> Iterator[SyncPrefectClient]:
    """A client of the API."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def pools(
    api: SyncPrefectClient, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, WarmPool]]:
    """A worker for all tests that leave it as they find it, and one for each that ends its worker: they start at once."""
    pools: dict[str, WarmPool] = {}
    for name in ("warm", "stopped", "killed"):
        folder = tmp_path_factory.mktemp(name)
        pools[name] = WarmPool.started(api, Programs(zygote, folder), folder, processes=3, drain_seconds=60)
    yield pools
    for pool in pools.values():
        pool.worker.kill()


@pytest.fixture
def pool(pools: dict[str, WarmPool]) -> WarmPool:
    """That for all."""
    return pools["warm"]


@pytest.fixture(scope="module")
def counts(pools: dict[str, WarmPool]) -> UUID:
    """A deployment that several tests run."""
    return pools["warm"].deploy("counts")


def body_of(pool: WarmPool, label: str) -> tuple[int, str]:
    """The process that a run was in, and what its body saw."""
    [line] = [line for line in pool.lines(f"{label} body in ") if line.startswith(label)]
    pid, _, seen = line.removeprefix(f"{label} body in ").partition(", ")
    return int(pid), seen


def test_a_process_keeps_its_resources_from_run_to_run_and_each_run_has_its_own(pool: WarmPool, counts: UUID) -> None:
    runs = []
    for label in ("first", "second"):
        runs.append(pool.run(counts, label))
        pool.completes(runs[-1])

    process, seen = body_of(pool, "first")
    assert body_of(pool, "second") == (process, seen) == (process, "model open, db open, unset, code")
    assert [line for line in pool.worker.marks() if "first" in line or "second" in line] == [
        line
        for label in ("first", "second")
        for line in (
            f"open {label} db",
            f"{label} body in {process}, {seen}",
            f"open {label} session",
            f"{label} task, session open",
            f"close {label} session none",
            f"close {label} db none",
            f"{label} hook Completed",
        )
    ]
    assert pool.lines(f"model in {process}") == [f"open model in {process}"]
    assert pool.lines(f"by {process}") == [f"imported one by {process}"]
    log = "\n".join(pool.log(runs[1]))
    assert "second prints" in log
    assert "App.db" in log
    assert "Finished in state Completed()" in log
    pool.worker.prints("second prints")


@pytest.mark.extended
def test_another_environment_has_another_process(pool: WarmPool) -> None:
    for setting in ("here", "there"):
        deployment = pool.deploy("counts", name="set", job_variables={"env": {"SETTING": setting}})
        pool.completes(pool.run(deployment, setting))

    here, there = (body_of(pool, setting) for setting in ("here", "there"))
    assert here[0] != there[0]
    assert here[1] == "model open, db open, here, code"
    assert there[1] == "model open, db open, there, code"


def test_code_that_has_changed_is_run_by_a_new_process(pool: WarmPool, counts: UUID) -> None:
    pool.completes(pool.run(counts, "old"))
    program = pool.code / "warm_program.py"
    before = program.read_text()
    program.write_text(before.replace('VERSION = "one"', 'VERSION = "two"'))
    try:
        pool.completes(pool.run(counts, "new"))
    finally:
        program.write_text(before)

    (old, _), (new, _) = body_of(pool, "old"), body_of(pool, "new")
    assert pool.lines("two") == [f"imported two by {new}"]
    pool.worker.reaches(f"close model in {old} none")


def test_a_cancelled_run_takes_its_process_with_it_and_no_other(pool: WarmPool) -> None:
    waits = pool.deploy("waits")
    unwanted, wanted = pool.run(waits, "unwanted"), pool.run(waits, "wanted")
    pool.begins("unwanted", "wanted")
    pool.client.set_flow_run_state(unwanted, Cancelling())
    reaches_state(pool.client, unwanted, "Cancelled")
    pool.worker.tell("wanted go on")
    pool.completes(wanted)

    process, _ = body_of(pool, "unwanted")
    assert [line for line in pool.lines("unwanted") if "body" not in line] == [
        "open unwanted db",
        "close unwanted db TerminationSignal",
        "unwanted hook Cancelling",
    ]
    assert f"close model in {process} TerminationSignal" in pool.worker.marks()
    assert not psutil.pid_exists(process)


def test_a_run_that_ends_its_process_crashes_whatever_it_has_forked_goes_on(pool: WarmPool) -> None:
    run = pool.run(pool.deploy("dies"), "dead")
    reaches_state(pool.client, run, "Crashed")

    state = pool.client.read_flow_run(run).state
    assert state is not None
    assert "status code: 3" in str(state.message)
    pool.worker.reaches("dead hook Crashed")
    pool.worker.tell("dead is over")


def test_a_run_that_times_out_takes_its_process_with_it(pool: WarmPool) -> None:
    run = pool.run(pool.deploy("lasts"), "late")
    reaches_state(pool.client, run, "TimedOut")

    process, _ = body_of(pool, "late")
    pool.worker.reaches("close late db CancelledError", "late hook TimedOut", f"close model in {process} none")
    pool.worker.prints(f"Warm process {process} closes: its run timed out")


def test_a_process_opens_what_it_keeps_before_its_first_run_mends_it_and_ends_by_its_limits(pool: WarmPool) -> None:
    variables = {"container": "warm_program:App", "health_check_seconds": 0.0}
    listens = pool.deploy("listens", job_variables={**variables, "max_runs_per_process": 3})
    for label in ("early", "again"):
        pool.completes(pool.run(listens, label))
    one, _ = body_of(pool, "early")
    pool.worker.tell(f"unwell {one}")
    pool.completes(pool.run(listens, "mended"))
    pool.worker.reaches(f"close model in {one} none")  # it has had its three runs
    pool.completes(pool.run(pool.deploy("listens", job_variables={**variables, "idle_seconds": 1.0}), "idle"))
    two, _ = body_of(pool, "idle")
    pool.worker.reaches(f"close model in {two} none")

    assert one != two
    kept = (f"model in {one}", f"model in {two}", " feed", "model open")
    assert [line for line in pool.worker.marks() if any(word in line for word in kept) and " db " not in line] == [
        f"open model in {one}",
        "open feed",
        f"early body in {one}, model open, feed open",
        f"again body in {one}, model open, feed open",
        "close feed none",
        f"close model in {one} ConnectionError",
        f"open model in {one}",
        "open feed",
        f"mended body in {one}, model open, feed open",
        "close feed none",
        f"close model in {one} none",
        f"open model in {two}",
        "open feed",
        f"idle body in {two}, model open, feed open",
        "close feed none",
        f"close model in {two} none",
    ]
    pool.worker.prints(f"Warm process {one} closes: it has had 3 runs")
    pool.worker.prints(f"Warm process {two} closes: it stood idle")


def test_a_command_of_its_own_is_run_in_a_process_of_its_own_in_the_working_directory(
    pool: WarmPool, tmp_path: Path
) -> None:
    command = f"{sys.executable} -W ignore -m prefect.engine"
    variables = {"command": command, "working_dir": str(tmp_path), "env": {"SETTING": "own"}}
    pool.completes(pool.run(pool.deploy("counts", name="own", job_variables=variables), "own"))

    process, seen = body_of(pool, "own")
    assert seen == "model open, db open, own, code"
    pool.worker.reaches(f"close model in {process} none")
    assert f"Warm process {process} " not in pool.worker.log()


@pytest.mark.extended
def test_a_process_that_has_grown_closes_and_a_working_directory_is_where_the_code_is_pulled_to(
    pool: WarmPool, tmp_path: Path
) -> None:
    variables = {"working_dir": str(tmp_path), "max_memory_mib": 1}
    pulled = pool.deploy("counts", name="pulled", job_variables=variables, pull_steps=None, path=str(pool.code))
    pool.completes(pool.run(pulled, "grown"))

    process, seen = body_of(pool, "grown")
    assert seen == f"model open, db open, unset, {tmp_path.name}"
    assert (tmp_path / "warm_program.py").exists()
    pool.worker.reaches(f"close model in {process} none")
    pool.worker.prints(f"Warm process {process} closes: it holds ")


def test_a_worker_that_is_told_to_stop_lets_runs_end_and_closes_everything(
    api: SyncPrefectClient, pools: dict[str, WarmPool]
) -> None:
    pool = pools["stopped"]
    run = pool.run(pool.deploy("waits"), "last")
    pool.begins("last")
    pool.worker.send(SIGTERM)
    pool.worker.prints("Waiting up to 60 s for 1 flow run")
    late = pool.run(pool.deploy("counts"), "late")
    pool.worker.tell("last go on")
    pool.worker.ends()

    process, _ = body_of(pool, "last")
    assert pool.worker.marks()[-2:] == ["close last db none", f"close model in {process} none"]
    reaches_state(api, run, "Completed")
    assert pool.lines("late") == []
    found = api.read_flow_run(late).state
    assert found is not None
    assert found.is_scheduled()


def test_when_the_worker_is_killed_its_processes_end_and_their_runs_crash(
    api: SyncPrefectClient, pools: dict[str, WarmPool]
) -> None:
    pool = pools["killed"]
    run = pool.run(pool.deploy("waits"), "orphan")
    pool.begins("orphan")
    process, _ = body_of(pool, "orphan")
    folder = Path(json.loads(psutil.Process(process).cmdline()[-1])["folder"])
    assert folder.exists()
    os.kill(pool.worker.pid, SIGKILL)
    reaches_state(api, run, "Crashed")

    eventually(lambda: f"close model in {process} TerminationSignal" in pool.worker.marks(), "the model closes")
    assert "close orphan db TerminationSignal" in pool.worker.marks()
    eventually(lambda: not psutil.pid_exists(process), "the process ends")
    assert not folder.exists()


@pytest.mark.extended
def test_a_run_that_is_cancelled_while_its_process_opens_what_it_keeps_never_begins(pool: WarmPool) -> None:
    deployment = pool.deploy("counts", name="kept", job_variables={"container": "warm_program:App"})
    pool.worker.tell("models open late")
    run = pool.run(deployment, "withdrawn")
    pool.worker.reaches("opening a model")
    pool.client.set_flow_run_state(run, Cancelling())
    pool.worker.tell("open the model")
    reaches_state(pool.client, run, "Cancelled")

    assert pool.lines("withdrawn") == []
    process = pool.lines("open model in")[-1].removeprefix("open model in ")
    pool.worker.reaches(f"close model in {process} none")
