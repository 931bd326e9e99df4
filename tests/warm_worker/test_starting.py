"""What Prefect's executor of flow runs is told of a run's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from prefect_lifespan.warm_worker.configuration import Job, Kind, Limits
from prefect_lifespan.warm_worker.messages import MANIFEST, Begins, Ended
from prefect_lifespan.warm_worker.starting import RunHooks, WarmStarter


@dataclass
class Ending:
    """In the place of a pool and of its one process, whose run ends, or which goes in the middle of it."""

    exit_code: int
    ended: Ended | None = None
    is_terminated: bool = False
    has_run: bool = True
    pid: int = 1
    folder: Path = Path()

    async def acquire(self, job: Job) -> Ending:
        return self

    async def begin(self, *_: Any) -> Begins:
        return Begins()

    async def end_of_run(self) -> Ended | None:
        return self.ended

    async def release(self, *_: Any) -> None: ...

    async def gone(self) -> None: ...

    def runs_folder(self, _: Any) -> Path:
        return self.folder

    def clean(self, _: Any) -> None: ...


class Started:
    """What is told the handle of a run's process."""

    handle: Any = None

    def started(self, value: Any = None) -> None:
        self.handle = value


class Channel:
    """A control channel without a port."""

    def register(self, _: Any) -> tuple[int, str]:
        raise RuntimeError("it could not listen")


def returned(ending: Ending) -> int:
    """With what a run has ended that has it."""
    pool: Any = ending
    control: Any = Channel()
    job = Job(Kind((), None, "", None, 30.0, True), Limits(1, None, 300.0, None), {})
    started = Started()
    run = FlowRun(id=uuid4(), flow_id=uuid4())
    asyncio.run(WarmStarter(job, pool, control, RunHooks(pool)).start(run, task_status=started))

    return int(started.handle.returncode)


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending(0, Ended(0, 1)), 0),
        (Ending(0, Ended(1, 1)), 1),
        (Ending(3), 3),
        (
            Ending(0),
            1,
        ),  # `os._exit(0)` in a run: Prefect would take it for one that has ended well, and that stays Running
        (Ending(0, is_terminated=True), 0),  # cancelled: who does that says what becomes of the run
    ],
)
def test_a_process_that_goes_in_the_middle_of_its_run_has_not_ended_well(ending: Ending, code: int) -> None:
    assert returned(ending) == code


class Leaving(Ending):
    """One that somebody else has told to end while it waited for a run; the next one is another."""

    async def acquire(self, job: Job) -> Ending:
        return self if self.runs == 0 else Ending(0, Ended(0, 1))

    async def begin(self, *_: Any) -> Any:
        self.runs += 1
        return None

    async def gone_unused(self, process: Ending) -> None:
        assert process is self

    runs = 0


def test_a_run_that_is_given_to_a_process_which_is_about_to_end_has_another_one() -> None:
    assert returned(Leaving(0)) == 0


def test_a_process_that_goes_before_its_first_run_begins_has_crashed() -> None:
    assert returned(Leaving(0, has_run=False)) == 1


def test_what_a_run_leaves_for_its_hooks_goes_when_it_has_ended_as_it_holds_the_environment(tmp_path: Path) -> None:
    process: Any = Ending(0, folder=tmp_path)
    hooks, flow_run_id = RunHooks(process), uuid4()
    (tmp_path / MANIFEST).write_text("{}")
    hooks.expect(flow_run_id, process)
    hooks.ended(flow_run_id)

    assert not (tmp_path / MANIFEST).exists()
