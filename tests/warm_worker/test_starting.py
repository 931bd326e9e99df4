"""What Prefect's executor of flow runs is told of a run's end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from prefect_lifespan.warm_worker.configuration import Job, Kind, Limits
from prefect_lifespan.warm_worker.messages import Begins, Ended
from prefect_lifespan.warm_worker.starting import RunHooks, WarmStarter


@dataclass
class Ending:
    """In the place of a pool and of its one process, whose run ends, or which goes in the middle of it."""

    exit_code: int
    ended: Ended | None = None
    is_terminated: bool = False
    pid: int = 1

    async def acquire(self, job: Job) -> Ending:
        return self

    async def begin(self, *_: Any) -> Begins:
        return Begins()

    async def end_of_run(self) -> Ended | None:
        return self.ended

    async def release(self, *_: Any) -> None: ...

    async def gone(self) -> None: ...


class Started:
    """What is told the handle of a run's process."""

    handle: Any = None

    def started(self, value: Any = None) -> None:
        self.handle = value


class Channel:
    """A control channel without a port."""

    def register(self, _: Any) -> tuple[int, str]:
        raise RuntimeError("it could not listen")


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
    pool: Any = ending
    control: Any = Channel()
    job = Job(Kind((), None, "", None, 30.0, True), Limits(1, None, 300.0, None), {})
    started = Started()
    run = FlowRun(id=uuid4(), flow_id=uuid4())
    asyncio.run(WarmStarter(job, pool, control, RunHooks(pool)).start(run, task_status=started))

    assert started.handle.returncode == code
