"""The same deployments on the worker types `process` and `lifespan`: what comes of their runs is the same."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from signal import SIGTERM
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, FlowRun
from prefect.states import Cancelling

from tests.processes.running import Programs, Zygote, eventually, reaches_state
from tests.processes.warm import WarmPool

PROGRAM = Path(__file__).parent / "programs" / "parity.py"
KINDS = ("process", "lifespan")


@pytest.fixture(scope="module")
def pools(prefect_server: str, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WarmPool]]:
    """One of each type."""
    with get_client(sync_client=True) as client:
        pools: list[WarmPool] = []
        for kind in KINDS:
            folder = tmp_path_factory.mktemp(kind)
            pools.append(WarmPool.started(client, Programs(zygote, folder), folder, kind=kind, program=PROGRAM))
        yield pools
        for pool in pools:
            pool.worker.kill()


@dataclass
class Seen:
    """What is to be the same of a run on both types."""

    states: list[str]
    message: str
    tags: list[str]
    tasks: list[str]
    children: list[str]
    log: list[str]
    marks: list[str]
    result: Any = None

    @classmethod
    def of(cls, pool: WarmPool, run: UUID, label: str) -> Seen:
        """All of it, without what is another one for each run."""
        client, found = pool.client, pool.client.read_flow_run(run)
        assert found.state is not None
        tasks = client.read_task_runs(task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run])))
        children = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
        )
        return cls(
            states=[str(state.name) for state in client.read_flow_run_states(run)],
            message=_same(str(found.state.message), found),
            tags=sorted(found.tags),
            tasks=sorted(f"{_task(each.name)} {each.state_name} {each.run_count}" for each in tasks),
            children=[f"{each.state_name} {each.parameters} {each.tags}" for each in children],
            log=[_same(line, found) for line in _log(client, run)],
            marks=[re.sub(r" in \d+", "", line) for line in pool.worker.marks() if line.startswith(label)],
            result=found.state.result(raise_on_failure=False) if label.startswith("everything") else None,
        )

    def lines(self) -> list[str]:
        """One below the other, so that a difference is read at once."""
        return [line for each in fields(self) for line in (each.name, *self._lines_of(getattr(self, each.name)))]

    @staticmethod
    def _lines_of(value: Any) -> list[str]:
        return [str(line) for line in value] if isinstance(value, list) else [str(value)]


def _task(name: str) -> str:
    """A task run's name without what is another one each time; of a subflow that is all."""
    return re.sub(r"-[0-9a-f]{3}$", "", name) if re.search(r"-[0-9a-f]{3}$", name) else "a subflow"


def _log(client: SyncPrefectClient, run: UUID) -> list[str]:
    """What the flow and its engine have logged; what the worker says of itself it says in its own way."""
    lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    return [
        f"{line.level} {line.message.splitlines()[0]}"
        for line in lines
        if line.name in ("prefect.flow_runs", "prefect.task_runs")
    ]


def _same(text: str, run: FlowRun) -> str:
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID", text.replace(run.name, "NAME"))
    text = re.sub(r"'[a-z]+-[a-z]+'", "'NAME'", text) if "inner" in text else text
    return re.sub(r"-[0-9a-f]{3}\b", "-HEX", re.sub(r"at \d{4}-[^ ]* [^ ]*|/[^ ']*/", "", text))


Act = Callable[[WarmPool, UUID, str], None]


def _nothing(pool: WarmPool, run: UUID, label: str) -> None: ...


def _begins(pool: WarmPool, label: str) -> str:
    line = eventually(
        lambda: next((line for line in pool.worker.marks() if line.startswith(f"{label} begins")), None),
        f"{label} begins",
        pool.worker.log,
    )
    assert line is not None
    return line


def _cancel(pool: WarmPool, run: UUID, label: str) -> None:
    _begins(pool, label)
    pool.client.set_flow_run_state(run, Cancelling())


def _terminate(pool: WarmPool, run: UUID, label: str) -> None:
    os.kill(int(_begins(pool, label).split()[-1]), SIGTERM)


def _resume(name: str) -> Act:
    def act(pool: WarmPool, run: UUID, label: str) -> None:
        reaches_state(pool.client, run, name)
        pool.client.resume_flow_run(run)

    return act


@dataclass
class Scenario:
    """One deployment, and what is done to its run."""

    flow: str
    end: str
    act: Act = _nothing
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    deployed: dict[str, Any] = field(default_factory=dict[str, Any])
    needs: list[str] = field(default_factory=list[str])
    finishes: bool = True  # its engine says how it has ended
    is_cut_off: bool = False  # a process of its own dies before it has sent the last lines of its log
    has_hook: bool = True


SCENARIOS = {
    "everything": Scenario(
        "everything", "Completed", parameters={"numbers": [3, 3, 4]},
        deployed={"tags": ["nightly"], "job_variables": {"env": {"SETTING": "of the job"}}},
    ),
    "fails": Scenario("fails", "Failed"),
    "cancelled": Scenario("waits", "Cancelled", _cancel),
    "cancelled on a loop": Scenario("waits_on_loop", "Cancelled", _cancel),
    "terminated": Scenario("waits", "Crashed", _terminate, finishes=False, is_cut_off=True),
    "killed": Scenario("is_killed", "Crashed", finishes=False),
    "exit code": Scenario("leaves", "Crashed", finishes=False),
    "sys.exit": Scenario("exits", "Crashed"),
    "timed out": Scenario("times_out", "TimedOut"),
    "timed out on a loop": Scenario("times_out_on_loop", "TimedOut"),
    "suspended": Scenario("suspends", "Completed", _resume("Suspended")),
    "paused": Scenario("pauses", "Completed", _resume("Paused")),
    "parent": Scenario("parent", "Completed", needs=["inner"]),
    "generator": Scenario("yields", "Completed"),
    "generator on a loop": Scenario("yields_on_loop", "Completed"),
    "wrong parameters": Scenario("fails", "Crashed", parameters={"unknown": 1}, finishes=False),
    "no such flow": Scenario("nothing_of_that_name", "Crashed", finishes=False, has_hook=False),
    "a working directory": Scenario(
        "where", "Completed", deployed={"job_variables": {"working_dir": "{folder}", "env": {"SETTING": "there"}}}
    ),
}  # fmt: skip


@pytest.mark.extended
@pytest.mark.parametrize("name", SCENARIOS)
def test_what_comes_of_a_run_is_the_same(pools: list[WarmPool], name: str) -> None:
    scenario, runs = SCENARIOS[name], list[UUID]()
    label = f"{name} {secrets.token_hex(2)}"  # where the test runs again it sees nothing of the first time
    for pool in pools:
        for other in scenario.needs:
            pool.deploy(other)
        deployed = {**scenario.deployed}
        if "working_dir" in deployed.get("job_variables", {}):
            deployed["job_variables"] = {**deployed["job_variables"], "working_dir": str(pool.code)}
        runs.append(pool.run(pool.deploy(scenario.flow, **deployed), label, **scenario.parameters))
    for pool, run in zip(pools, runs, strict=True):
        scenario.act(pool, run, label)
    for pool, run in zip(pools, runs, strict=True):
        reaches_state(pool.client, run, scenario.end)
        eventually(
            lambda pool=pool, run=run: _has_ended(pool, run, label, scenario),
            f"{name} ends",
            pool.worker.log,
            every_seconds=0.1,
        )

    process, warm = (Seen.of(pool, run, label) for pool, run in zip(pools, runs, strict=True))
    if scenario.is_cut_off:
        warm.log = warm.log[: len(process.log)]
    assert warm.lines() == process.lines()


def _has_ended(pool: WarmPool, run: UUID, label: str, scenario: Scenario) -> bool:
    """Its last line has reached the API, where its engine has come to that, and its hook the marks.

    A run that was suspended has said the same of that before: its process has ended, and another one sends the rest.
    """
    lines = pool.client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
    last = [line for line in lines if "Finished in state" in line.message and "Suspended" not in line.message]
    said = {line.name for line in last}
    hooks = [line for line in pool.worker.marks() if line.startswith(f"{label} hook") and "Running" not in line]
    return (not scenario.finishes or "prefect.flow_runs" in said) and (not scenario.has_hook or bool(hooks))


def _limited(pool: WarmPool, where: str) -> dict[str, Any]:
    """Limit something to one run at a time; what a deployment says for that."""
    if where == "queue":
        pool.client.create_work_queue(name="one by one", work_pool_name=pool.name, concurrency_limit=1)
        return {"work_queue_name": "one by one"}
    if where == "work pool":
        pool.client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=1))
        return {}
    strategy = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
    return {"concurrency_limit": 1, "concurrency_options": strategy}


@pytest.mark.extended
@pytest.mark.parametrize(
    ("where", "end", "and_then"),
    [
        ("work pool", "Completed", ["second begins", "second ends"]),
        ("queue", "Completed", ["second begins", "second ends"]),
        ("deployment", "Cancelled", []),
    ],
)
def test_a_concurrency_limit_holds_a_second_run_back(
    pools: list[WarmPool], where: str, end: str, and_then: list[str]
) -> None:
    label = f"{where} {secrets.token_hex(2)}"
    runs: list[list[UUID]] = []
    for pool in pools:
        deployment = pool.deploy("waits", name=f"{pool.name} {where}", **_limited(pool, where))
        runs.append([pool.run(deployment, f"{label} first")])
        _begins(pool, f"{label} first")
        runs[-1].append(pool.run(deployment, f"{label} second"))
    for pool, (first, second) in zip(pools, runs, strict=True):
        if not and_then:
            reaches_state(pool.client, second, end)
        for each in ("first", "second"):
            pool.worker.tell(f"{label} {each} goes on")
        reaches_state(pool.client, first, "Completed")
        reaches_state(pool.client, second, end)
        pool.client.update_work_pool(pool.name, WorkPoolUpdate(concurrency_limit=None))

    process, warm = (
        [[str(state.name) for state in pool.client.read_flow_run_states(run)] for run in of_pool]
        for pool, of_pool in zip(pools, runs, strict=True)
    )
    assert warm == process
    for pool in pools:
        marks = [re.sub(r" in \d+", "", line) for line in pool.worker.marks() if line.startswith(label)]
        seen = [line.removeprefix(f"{label} ") for line in marks if "hook" not in line]
        assert seen == ["first begins", "first ends", *and_then]


@pytest.mark.extended
def test_a_concurrency_limit_of_a_tag_holds_the_task_of_a_second_run_back(pools: list[WarmPool]) -> None:
    label = f"tag {secrets.token_hex(2)}"
    runs: list[list[UUID]] = []
    for pool in pools:
        tag = f"{label} of {pool.name}"
        pool.client.create_concurrency_limit(tag, 1)
        deployment = pool.deploy("takes_turns")
        runs.append([pool.run(deployment, f"{label} first", tag=tag)])
        _begins(pool, f"{label} first")
        runs[-1].append(pool.run(deployment, f"{label} second", tag=tag))
        pool.worker.reaches(f"{label} second asks")
        pool.worker.tell(f"{label} second goes on")
    for pool, of_pool in zip(pools, runs, strict=True):
        pool.worker.tell(f"{label} first goes on")
        for run in of_pool:
            reaches_state(pool.client, run, "Completed")

    for pool in pools:
        marks = [re.sub(r" in \d+", "", line) for line in pool.worker.marks() if line.startswith(label)]
        seen = [line.removeprefix(f"{label} ") for line in marks if "hook" not in line]
        assert seen == ["first asks", "first begins", "second asks", "first ends", "second begins", "second ends"]
