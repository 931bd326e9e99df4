"""The worker type `lifespan`: runs in warm processes, with real workers, processes, signals and a real API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

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
def pool(api: SyncPrefectClient, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPool]:
    """A worker with two processes, for all tests that leave it as they find it."""
    folder = tmp_path_factory.mktemp("warm")
    programs = Programs(zygote, folder)
    pool = WarmPool.started(api, programs, folder, processes=2)
    yield pool
    pool.worker.kill()


def body_of(pool: WarmPool, label: str) -> tuple[int, str]:
    """The process that a run was in, and what its body saw."""
    [line] = [line for line in pool.lines(f"{label} body in ") if line.startswith(label)]
    pid, _, seen = line.removeprefix(f"{label} body in ").partition(", ")
    return int(pid), seen


def test_a_process_keeps_its_resources_from_run_to_run_and_each_run_has_its_own(pool: WarmPool) -> None:
    counts = pool.deploy("counts")
    runs = []
    for label in ("first", "second"):
        runs.append(pool.run(counts, label))
        pool.completes(runs[-1])

    process, seen = body_of(pool, "first")
    assert body_of(pool, "second") == (process, seen) == (process, "model open, db open, unset")
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
    assert pool.lines("model in") == [f"open model in {process}"]
    assert pool.lines("imported") == [f"imported one by {process}"]
    log = "\n".join(pool.log(runs[1]))
    assert "second prints" in log
    assert "App.db" in log
    assert "Finished in state Completed()" in log


@pytest.mark.extended
def test_another_environment_has_another_process_and_what_a_run_changes_is_undone(pool: WarmPool) -> None:
    for setting in ("here", "there"):
        pool.completes(pool.run(pool.deploy("counts", job_variables={"env": {"SETTING": setting}}), setting))

    here, there = (body_of(pool, setting) for setting in ("here", "there"))
    assert here[0] != there[0]
    assert here[1] == "model open, db open, here"
    assert there[1] == "model open, db open, there"


def test_code_that_has_changed_is_run_by_a_new_process(pool: WarmPool) -> None:
    counts = pool.deploy("counts", job_variables={"env": {"SETTING": "code"}})
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
    pool.completes(pool.run(waits, "wanted"))
    again, *_ = (line for line in pool.worker.marks() if line.startswith("wanted body"))
    assert again.removeprefix("wanted body in ") != str(process)


def test_a_run_that_ends_its_process_crashes_and_the_next_one_has_another(pool: WarmPool) -> None:
    dies = pool.deploy("dies")
    run = pool.run(dies, "dead")
    reaches_state(pool.client, run, "Crashed")

    state = pool.client.read_flow_run(run).state
    assert state is not None
    assert "status code: 3" in str(state.message)
    pool.worker.reaches("dead hook Crashed")


def test_a_process_opens_what_it_keeps_before_its_first_run_mends_it_and_ends_by_its_limits(
    api: SyncPrefectClient, programs: Programs, tmp_path: Path
) -> None:
    pool = WarmPool.started(
        api, programs, tmp_path / "kept", processes=1, container="warm_program:App", health_check_seconds=0.0,
        max_runs_per_process=2,
    )  # fmt: skip
    listens = pool.deploy("listens")
    pool.completes(pool.run(listens, "early"))
    one, _ = body_of(pool, "early")
    pool.worker.tell(f"unwell {one}")
    pool.completes(pool.run(listens, "mended"))
    pool.worker.reaches(f"close model in {one} none")  # it has had its two runs
    pool.completes(pool.run(pool.deploy("listens", job_variables={"idle_seconds": 1.0}), "idle"))
    two, _ = body_of(pool, "idle")
    pool.worker.reaches(f"close model in {two} none")

    assert one != two
    assert [line for line in pool.worker.marks() if " model" in line or " feed" in line] == [
        f"open model in {one}",
        "open feed",
        f"early body in {one}, model open, feed open",
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
    assert "it has had 2 runs" in pool.worker.log()
    assert "it stood idle" in pool.worker.log()


def test_a_worker_that_is_told_to_stop_lets_runs_end_and_closes_everything(
    api: SyncPrefectClient, programs: Programs, tmp_path: Path
) -> None:
    pool = WarmPool.started(api, programs, tmp_path / "stopping", processes=2, drain_seconds=60)
    run = pool.run(pool.deploy("waits"), "last")
    pool.begins("last")
    pool.worker.send(SIGTERM)
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
    api: SyncPrefectClient, programs: Programs, tmp_path: Path
) -> None:
    pool = WarmPool.started(api, programs, tmp_path / "killed", processes=2)
    run = pool.run(pool.deploy("waits"), "orphan")
    pool.begins("orphan")
    process, _ = body_of(pool, "orphan")
    os.kill(pool.worker.pid, SIGKILL)
    reaches_state(api, run, "Crashed")

    eventually(lambda: f"close model in {process} TerminationSignal" in pool.worker.marks(), "the model closes")
    assert "close orphan db TerminationSignal" in pool.worker.marks()
    eventually(lambda: not psutil.pid_exists(process), "the process ends")
