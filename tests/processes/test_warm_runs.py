"""What comes of runs of the worker type `lifespan`, one after the other in one process; test_warm_parity compares more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId

from tests.processes.running import Programs, Zygote, eventually, reaches_state
from tests.processes.warm import WarmPool

PROGRAM = Path(__file__).parent / "programs" / "parity.py"


@pytest.fixture(scope="module")
def pool(prefect_server: str, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPool]:
    """A worker with one process."""
    folder = tmp_path_factory.mktemp("one-process")
    with get_client(sync_client=True) as client:
        pool = WarmPool.started(client, Programs(zygote, folder), folder, program=PROGRAM, processes=1)
        yield pool
        pool.worker.kill()


@pytest.fixture(scope="module")
def each(pool: WarmPool) -> UUID:
    """A deployment whose runs do what they are told."""
    return pool.deploy("each", tags=["nightly"], job_variables={"env": {"SETTING": "of the job"}})


def ended(pool: WarmPool, run: UUID, state: str, label: str) -> Any:
    """A run that has ended so, whose hook was called."""
    reaches_state(pool.client, run, state)
    pool.worker.reaches(f"{label} hook of each: {state}")
    return pool.client.read_flow_run(run)


def states(pool: WarmPool, run: UUID) -> list[str]:
    """All that it was in, from its start on."""
    names = [str(state.name) for state in pool.client.read_flow_run_states(run)]
    return names[names.index("Running") :]


def process_of(pool: WarmPool) -> list[int]:
    """The warm processes."""
    return [process.pid for process in psutil.Process(pool.worker.pid).children()]


def test_a_run_has_its_log_parameters_tags_environment_tasks_subflow_and_result(pool: WarmPool, each: UUID) -> None:
    run = pool.run(each, "all", what="everything")
    found = ended(pool, run, "Completed", "all")

    assert found.state.result() == {
        "inner": "all",
        "squares": [9, 9, 16],
        "setting": "of the job",
        "parameters": {"label": "all", "what": "everything"},
        "tags": ["nightly"],
        "folder": pool.code.name,
    }
    tasks = pool.client.read_task_runs(task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run])))
    seen = sorted((each.name.rpartition("-")[0], each.state_name, each.run_count) for each in tasks)
    assert ("fails_once", "Completed", 2) in seen
    assert [state for name, state, _ in seen if name == "squared"] == ["Cached", "Completed", "Completed"]
    eventually(lambda: "Finished in state Completed()" in pool.log(run), "its log arrives", every_seconds=0.1)
    assert {"all prints", "all warns"} <= set(pool.log(run))


def test_a_run_that_fails_is_tried_again_suspended_and_paused_ones_go_on_and_all_have_the_same_process(
    pool: WarmPool, each: UUID
) -> None:
    failing = pool.run(each, "bad", what="fails")
    found = ended(pool, failing, "Failed", "bad")
    [process] = process_of(pool)
    suspended = pool.run(each, "late", what="suspends")
    reaches_state(pool.client, suspended, "Suspended")
    paused = pool.run(each, "slow", what="pauses")
    for run, state in ((paused, "Paused"), (suspended, "Suspended")):
        reaches_state(pool.client, run, state)
        pool.client.resume_flow_run(run)
    for run, label in ((paused, "slow"), (suspended, "late")):
        assert ended(pool, run, "Completed", label).state.result() == label

    assert "bad has failed" in found.state.message
    assert states(pool, failing) == ["Running", "AwaitingRetry", "Running", "Failed"]
    assert states(pool, paused) == ["Running", "Paused", "Running", "Completed"]
    assert [state for state in states(pool, suspended) if state in ("Running", "Suspended", "Completed")] == [
        "Running", "Suspended", "Running", "Completed",
    ]  # fmt: skip
    attempts = [line for line in pool.worker.marks() if "attempt" in line and not line.startswith("all")]
    assert sorted(attempts) == [
        "bad attempt 1", "bad attempt 2", "late attempt 1", "late attempt 1", "slow attempt 1",
    ]  # fmt: skip
    assert process_of(pool) == [process]


def test_a_run_whose_parameters_do_not_fit_crashes_and_the_next_one_goes_well(pool: WarmPool, each: UUID) -> None:
    wrong = pool.run(each, "wrong", unknown=1)
    well = pool.run(each, "well", what="nothing")
    ended(pool, wrong, "Crashed", "wrong")

    assert ended(pool, well, "Completed", "well").state.result() == "well"
    assert [line for line in pool.worker.marks() if line.startswith("wrong attempt")] == []
