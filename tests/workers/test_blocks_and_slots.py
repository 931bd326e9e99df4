"""Blocks and slots that a task, or a process, has of its own: on threads, in pools and on Dask."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from prefect_lifespan import lifespan
from tests.workers.programs import holding as program
from tests.workers.records import PATIENCE_SECONDS, Mark, Runners, marks_at, on


@pytest.fixture
def ledgers(prefect_server: str, tmp_path: Path) -> Iterator[Path]:
    """Where the blocks note; with one slot for tasks, and two for processes."""
    for name, limit in ((program.NAME, 1), (program.WIDE, 2)):
        program.TestsLedger(path=str(tmp_path / name)).save(name, overwrite=True)
        with get_client(sync_client=True) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit))
    yield tmp_path
    for name in (program.NAME, program.WIDE):
        with get_client(sync_client=True) as client:
            client.delete_global_concurrency_limit_by_name(name)


def counted(marks: list[Mark]) -> Counter[str]:
    return Counter(mark.what for mark in marks)


@pytest.mark.parametrize("kind", on("thread", "pool", extended=["dask processes"]))
def test_each_task_has_a_block_with_its_outcome_and_a_slot_of_its_own(
    ledgers: Path, runners: Runners, kind: str
) -> None:
    found: Any = program.holding.with_options(task_runner=runners.of(kind))()

    marks = marks_at(ledgers / program.NAME)
    assert counted(marks) == {"+": 4, "used": 4, "- None": 3, "- ValueError": 1}
    for pid in {mark.pid for mark in marks}:
        here = counted([mark for mark in marks if mark.pid == pid])
        assert here["+"] == here["- None"] + here["- ValueError"], "it is left where it was entered"
    assert isinstance(found.pop(1), ValueError)
    assert {held for _, held in found} == {1}, "there is one slot, and whoever runs has it"
    assert (os.getpid() in {pid for pid, _ in found}) is (kind == "thread")
    assert program.held(program.NAME) == 0


@pytest.mark.parametrize("kind", on("thread", "pool"))
def test_a_process_has_one_of_each_as_long_as_it_lives(ledgers: Path, runners: Runners, kind: str) -> None:
    run: Any = program.holding_widely.with_options(task_runner=runners.of(kind))
    if kind == "thread":
        with lifespan(program.App):
            found = [*run(), *run()]
    else:
        found = run()

    marks = marks_at(ledgers / program.WIDE)
    pids = {pid for pid, _ in found}
    assert {mark.pid for mark in marks} == pids
    assert counted(marks) == {"+": len(pids), "used": len(found), "- None": len(pids)}
    assert {held for _, held in found} <= {1, 2}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while program.held(program.WIDE) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert program.held(program.WIDE) == 0
