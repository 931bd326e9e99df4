"""A worker that is told to stop while runs go on."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import Any

import pytest

from prefect_lifespan.warm_worker import worker as worker_module
from prefect_lifespan.warm_worker.worker import LifespanWorker

FLOW_RUN: Any = SimpleNamespace(id=None)
CONFIGURATION: Any = SimpleNamespace(has_own_command=False)


class Hanging:
    """In the place of a pool: its process ends by SIGKILL alone."""

    def __init__(self) -> None:
        self.signals: list[signal.Signals] = []
        self.killed = asyncio.Event()

    async def close(self, number: signal.Signals) -> None:
        self.signals.append(number)
        if number is signal.SIGKILL:
            self.killed.set()
        await self.killed.wait()


def test_what_becomes_of_runs_whose_processes_are_killed_is_told_before_the_worker_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "GRACE_SECONDS", 1.0)
    monkeypatch.setattr(worker_module, "_DRAIN_SECONDS", 0.0)

    async def test() -> None:
        worker: Any = LifespanWorker(work_pool_name="nobody's")
        worker._pool = pool = Hanging()

        async def run_warm(*of_the_run: Any) -> None:
            await pool.killed.wait()
            for _ in range(10):  # the API is told that it has crashed
                await asyncio.sleep(0)

        worker._run_warm = run_warm
        run = asyncio.create_task(worker.run(FLOW_RUN, CONFIGURATION))
        await asyncio.sleep(0)
        await worker._drain()
        assert pool.signals == [signal.SIGTERM, signal.SIGKILL]
        assert run.done()

    asyncio.run(test())
