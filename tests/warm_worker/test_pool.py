"""Which warm process takes a run, when one starts and when one closes: with processes that only say what they are told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any

import pytest

from prefect_lifespan.warm_worker import pool as pool_module
from prefect_lifespan.warm_worker.configuration import Job, Kind, Limits
from prefect_lifespan.warm_worker.messages import Ended
from prefect_lifespan.warm_worker.pool import Pool
from prefect_lifespan.warm_worker.states import State


@dataclass(eq=False)
class Standing:
    """In the place of a warm process: it starts at once, and closes when the test says so."""

    kind: Kind
    pid: int
    state: State = State.STARTING
    runs: int = 0
    memory_bytes: int = 0
    idle_since: float = 0.0
    left_a_run: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def become(self, state: State) -> None:
        self.state = state

    def close(self) -> None:
        self.state = State.CLOSING

    def terminate(self, number: signal.Signals) -> None:
        self.state = State.CLOSING

    def clean(self) -> None: ...

    async def gone(self) -> None:
        await self.ended.wait()

    def begin(self) -> None:
        self.state, self.runs = State.RUNNING, self.runs + 1

    def end(self) -> None:
        self.state = State.GONE
        self.ended.set()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Standing]:
    """All that have started."""
    processes: list[Standing] = []

    async def start(kind: Kind) -> Standing:
        if kind.code == "cannot start":
            raise FileNotFoundError(kind.code)
        processes.append(Standing(kind, len(processes)))
        return processes[-1]

    monkeypatch.setattr(pool_module.WarmProcess, "started", start)
    return processes


def job(code: str, *, processes: int = 2, **limits: Any) -> Job:
    """A run of a deployment."""
    kind = Kind((), None, code, None, 30.0, True)
    asked = {"processes": processes, "max_runs": None, "idle_seconds": 300.0, "max_memory_mib": None, **limits}
    return Job(kind, Limits(**asked), {})


def runs(test: Callable[[Pool], Any]) -> None:
    """Run it with a pool."""

    async def body() -> None:
        async with asyncio.timeout(30):
            await test(Pool(lambda: getLogger("test")))

    asyncio.run(body())


async def has_run(pool: Pool, job: Job) -> Any:
    """Have a run of a job; the process, which is idle then."""
    process: Any = await pool.acquire(job)
    process.begin()
    await pool.release(process, job.limits, Ended(0, 1))
    return process


async def settled() -> None:
    """Whatever can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_run_has_the_process_that_waits_and_another_deployment_another_one(started: list[Standing]) -> None:
    async def test(pool: Pool) -> None:
        one, same, other = await has_run(pool, job("a")), await has_run(pool, job("a")), await has_run(pool, job("b"))
        assert one is same is not other
        assert started == [one, other]

    runs(test)


def test_where_none_can_start_who_waits_has_the_place(started: list[Standing]) -> None:
    async def test(pool: Pool) -> None:
        failing = asyncio.create_task(pool.acquire(job("cannot start", processes=1)))
        waiting = asyncio.create_task(pool.acquire(job("a", processes=1)))
        with pytest.raises(FileNotFoundError):
            await failing
        assert (await waiting).kind.code == "a"

    runs(test)


def test_another_deployment_takes_the_place_of_what_was_idle_longest_and_of_no_other(started: list[Standing]) -> None:
    async def test(pool: Pool) -> None:
        oldest, newer = await has_run(pool, job("a")), await has_run(pool, job("b"))
        waiting = asyncio.create_task(pool.acquire(job("c")))
        await settled()
        assert await has_run(pool, job("b")) is newer  # whatever happens meanwhile
        await settled()
        assert (oldest.state, newer.state) == (State.CLOSING, State.IDLE)
        oldest.end()
        assert (await waiting).kind.code == "c"

    runs(test)


def test_a_run_waits_for_the_process_that_is_about_to_fit_before_it_takes_another_ones_place(
    started: list[Standing], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(pool: Pool) -> None:
        busy: Any = await pool.acquire(job("a"))
        busy.begin()
        idle = await has_run(pool, job("b"))
        waiting = asyncio.create_task(pool.acquire(job("a")))
        await settled()
        assert idle.state is State.IDLE
        await pool.release(busy, job("a").limits, Ended(0, 1))
        assert await waiting is busy

        busy.begin()
        monkeypatch.setattr(pool_module, "_PATIENCE_SECONDS", 0.0)
        waiting = asyncio.create_task(pool.acquire(job("a")))
        await settled()
        assert idle.state is State.CLOSING
        idle.end()
        assert (await waiting) not in (busy, idle)

    runs(test)


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        ({"max_runs": 1}, Ended(0, 1)),
        ({"max_memory_mib": 1.0}, Ended(0, 2**20 + 1)),
        ({}, Ended(1, 1, "its run has crashed")),
        ({"idle_seconds": 0.0}, Ended(0, 1)),
    ],
)
def test_a_process_closes_by_its_limits(started: list[Standing], limits: dict[str, Any], ended: Ended) -> None:
    async def test(pool: Pool) -> None:
        asked = job("a", **limits)
        process: Any = await pool.acquire(asked)
        process.begin()
        await pool.release(process, asked.limits, ended)
        await settled()
        assert process.state is State.CLOSING

    runs(test)
