"""The warm processes of one worker: which one takes a run, when a new one starts, when one closes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from logging import Logger, LoggerAdapter
from time import monotonic
from typing import Any

from prefect_lifespan.warm_worker.configuration import Job, Limits
from prefect_lifespan.warm_worker.messages import Ended
from prefect_lifespan.warm_worker.states import State
from prefect_lifespan.warm_worker.warm_process import WarmProcess

_MIB = 2**20
# About what a new process takes before it runs anything.
_PATIENCE_SECONDS = 5.0


class Pool:
    """At most so many processes as a job says, each for one kind of job, one run at a time."""

    def __init__(self, logger: Callable[[], Logger | LoggerAdapter[Any]]) -> None:
        self._logger = logger
        self._processes: list[WarmProcess] = []  # the one that was used last stands last
        self._starting = 0
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._timers: dict[WarmProcess, asyncio.TimerHandle] = {}
        self._left: list[WarmProcess] = []  # they have gone, and somebody may still ask for what they leave
        self._watching: set[asyncio.Task[None]] = set()

    async def acquire(self, job: Job) -> WarmProcess:
        """A process that can run it: one that waits, or a new one as soon as there may be one more."""
        async with self._changed:
            self._waiting += 1
            try:
                while True:
                    process = self._idle_one(job)
                    if process is not None:
                        return self._taken(process)
                    if len(self._processes) + self._starting < job.limits.processes:
                        self._starting += 1
                        break
                    self._make_place(job)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_PATIENCE_SECONDS):
                            await self._changed.wait()
            finally:
                self._waiting -= 1
        try:
            process = await WarmProcess.started(job.kind)
            self._processes.append(process)
            self._watch(process)
            return process
        finally:
            self._starting -= 1
            await self._tell()  # who waits may have the place, where none has started

    async def release(self, process: WarmProcess, limits: Limits, ended: Ended) -> None:
        """Its run has ended, and the process lives."""
        process.memory_bytes = ended.memory_bytes
        if process.state is not State.RUNNING:
            return  # it closes already
        why = self._why_unfit(process, limits, ended)
        if why is not None:
            self._retire(process, why)
            return
        process.become(State.IDLE)
        process.idle_since = monotonic()
        loop = asyncio.get_running_loop()
        self._timers[process] = loop.call_later(limits.idle_seconds, self._retire, process, "it stood idle")
        await self._tell()

    async def retire(self, process: WarmProcess, why: str) -> None:
        """Let it close, and end."""
        self._retire(process, why)
        await self._tell()

    async def gone_unused(self, process: WarmProcess) -> None:
        """It was told to end while it waited for a run, by somebody else, and has not begun the one that it was given."""
        self._logger().info("Warm process %d has gone while it was given a run; another one has that", process.pid)
        await process.gone()
        process.left_a_run = False
        self.clean(process)

    def clean(self, process: WarmProcess) -> None:
        """Nobody asks any more for what it has left."""
        if process in self._left:
            self._left.remove(process)
            process.clean()

    async def close(self, number: signal.Signals) -> None:
        """Close all: what is idle in order, and what has a run by a signal; by SIGKILL all."""
        for process in [*self._processes]:
            if process.state is State.RUNNING or number is signal.SIGKILL:
                with suppress(ProcessLookupError):
                    process.terminate(number)
            else:
                self._retire(process, "the worker stops")
        for process in [*self._processes]:
            await process.gone()
        for process in [*self._left]:
            self.clean(process)
        for watching in [*self._watching]:
            await watching

    def _idle_one(self, job: Job) -> WarmProcess | None:
        fit = (each for each in reversed(self._processes) if each.state is State.IDLE and each.kind == job.kind)
        return next(fit, None)

    def _make_place(self, job: Job) -> None:
        """Close what has been idle longest, one for each that waits.

        One that fits may soon have ended its run, and a new one takes longer: then only what nobody has asked for lately.
        """
        closing = sum(process.state is State.CLOSING for process in self._processes)
        if closing >= self._waiting:
            return
        soon = any(each.kind == job.kind for each in self._processes if each.state in (State.STARTING, State.RUNNING))
        until = monotonic() - (_PATIENCE_SECONDS if soon else 0)
        idle = [each for each in self._processes if each.state is State.IDLE and each.idle_since <= until]
        if idle:
            self._retire(idle[0], "another deployment needs its place")

    def _taken(self, process: WarmProcess) -> WarmProcess:
        self._cancel_timer(process)
        self._processes.remove(process)
        self._processes.append(process)
        return process

    def _why_unfit(self, process: WarmProcess, limits: Limits, ended: Ended) -> str | None:
        if ended.unfit is not None:
            return ended.unfit
        if limits.max_runs is not None and process.runs >= limits.max_runs:
            return f"it has had {process.runs} runs"
        if limits.max_memory_mib is not None and process.memory_bytes > limits.max_memory_mib * _MIB:
            return f"it holds {process.memory_bytes / _MIB:.0f} MiB"
        return None

    def _retire(self, process: WarmProcess, why: str) -> None:
        self._cancel_timer(process)
        if process.state not in (State.CLOSING, State.GONE):
            self._logger().info("Warm process %d closes: %s", process.pid, why)
        process.close()

    def _cancel_timer(self, process: WarmProcess) -> None:
        timer = self._timers.pop(process, None)
        if timer is not None:
            timer.cancel()

    def _watch(self, process: WarmProcess) -> None:
        task = asyncio.ensure_future(self._until_gone(process))
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _until_gone(self, process: WarmProcess) -> None:
        await process.gone()
        self._cancel_timer(process)
        self._processes.remove(process)
        if process.left_a_run:
            self._left.append(process)
        else:
            process.clean()
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
