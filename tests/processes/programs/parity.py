"""Flows that the worker types `process` and `lifespan` run alike, deployed from a copy of this file.

What each run sees is marked with the label that it is given.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, pause_flow_run, suspend_flow_run, tags, task
from prefect.cache_policies import INPUTS
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import deployment
from prefect.runtime import flow_run as this_run

from tests.processes.programs.marks import mark, wait_for_order


def told(flow: Any, flow_run: Any, state: Any) -> None:
    mark(f"{flow_run.parameters.get('label')} hook of {flow.name}: {state.name}")


HOOKS: dict[str, Any] = {
    "on_running": [told], "on_completion": [told], "on_failure": [told], "on_cancellation": [told], "on_crashed": [told],
}  # fmt: skip

_attempts: list[str] = []


@task(retries=1)
def fails_once() -> None:
    _attempts.append("one")
    if len(_attempts) % 2:
        raise ConnectionError("once")


@task(cache_policy=INPUTS, persist_result=True)
def squared(number: int, of: str) -> int:
    return number * number


@flow(**HOOKS)
def inner(label: str) -> str:
    get_run_logger().info("inner of %s", label)
    return label


@flow(log_prints=True, persist_result=True, **HOOKS)
def everything(label: str, numbers: list[int]) -> dict[str, Any]:
    """Logs, parameters, retries, caching, subflows, tags, environment, and a result."""
    print(f"{label} prints")
    get_run_logger().warning("%s warns", label)
    fails_once()
    with tags("of-a-block"):
        found = [squared(number, str(deployment.name)) for number in numbers]
    return {
        "inner": inner(label),
        "squares": found,
        "setting": os.environ.get("SETTING"),
        "parameters": this_run.parameters,
        "tags": sorted(this_run.tags),
        "folder": Path.cwd().name,
    }


@flow(log_prints=True, persist_result=True, retries=1, **HOOKS)
def each(label: str, what: str) -> Any:
    """Several of these by one deployment, whose runs have the same process."""
    mark(f"{label} attempt {this_run.run_count}")
    if what == "fails":
        raise ValueError(f"{label} has failed")
    if what == "suspends":
        suspend_flow_run(timeout=600, key=label)
    if what == "pauses":
        pause_flow_run(timeout=600, poll_interval=1)
    return everything.fn(label, [3, 3, 4]) if what == "everything" else label


@flow(**HOOKS)
def where(label: str) -> None:
    mark(f"{label} in {Path.cwd().name}, SETTING {os.environ.get('SETTING')}, NOT {os.environ.get('NOT', 'set')}")


@flow(retries=1, **HOOKS)
def fails(label: str) -> None:
    mark(f"{label} attempt {this_run.run_count}")
    raise ValueError(f"{label} has failed")


@flow(timeout_seconds=1, **HOOKS)
def times_out(label: str) -> None:
    mark(f"{label} begins")
    wait_for_order("never")


@flow(timeout_seconds=1, **HOOKS)
async def times_out_on_loop(label: str) -> None:
    import asyncio

    mark(f"{label} begins")
    await asyncio.Event().wait()


@flow(**HOOKS)
def waits(label: str) -> None:
    mark(f"{label} begins in {os.getpid()}")
    try:
        wait_for_order(f"{label} goes on")
    finally:
        mark(f"{label} ends")


@task
def has_a_slot(label: str) -> None:
    mark(f"{label} begins in {os.getpid()}")
    wait_for_order(f"{label} goes on")
    mark(f"{label} ends")


@flow(**HOOKS)
def takes_turns(label: str, tag: str) -> None:
    mark(f"{label} asks")
    with tags(tag):
        has_a_slot(label)


@flow(**HOOKS)
async def waits_on_loop(label: str) -> None:
    import asyncio

    mark(f"{label} begins in {os.getpid()}")
    try:
        await asyncio.Event().wait()
    finally:
        mark(f"{label} ends")


@flow(**HOOKS)
def is_killed(label: str) -> None:
    mark(f"{label} begins")
    os.kill(os.getpid(), signal.SIGKILL)


@flow(**HOOKS)
def leaves(label: str) -> None:
    mark(f"{label} begins")
    os._exit(3)


@flow(**HOOKS)
def exits(label: str) -> None:
    mark(f"{label} begins")
    sys.exit(4)


@flow(**HOOKS)
def suspends(label: str) -> None:
    mark(f"{label} attempt {this_run.run_count}")
    suspend_flow_run(timeout=60, key=label)
    mark(f"{label} ends")


@flow(**HOOKS)
def pauses(label: str) -> None:
    mark(f"{label} begins")
    pause_flow_run(timeout=60, poll_interval=1)
    mark(f"{label} ends")


@flow(**HOOKS)
def parent(label: str) -> str:
    child = run_deployment(f"inner/{deployment.name}", parameters={"label": f"{label} child"}, poll_interval=1)
    assert isinstance(child, FlowRun)
    assert child.state is not None
    return str(child.state.name)


@flow(**HOOKS)
def yields(label: str) -> Iterator[int]:
    for number in range(2):
        mark(f"{label} yields {number}")
        yield number


@flow(**HOOKS)
async def yields_on_loop(label: str) -> AsyncIterator[int]:
    for number in range(2):
        mark(f"{label} yields {number}")
        yield number
