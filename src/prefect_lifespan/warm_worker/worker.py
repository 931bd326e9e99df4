"""The worker type `lifespan`: Prefect's process worker, whose flow runs execute in warm processes."""

from __future__ import annotations

import signal
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorker, ProcessWorkerResult

from prefect_lifespan.warm_worker.configuration import LifespanJobConfiguration, LifespanVariables, default_of
from prefect_lifespan.warm_worker.folders import remove_what_is_left
from prefect_lifespan.warm_worker.pool import Pool
from prefect_lifespan.warm_worker.starting import (
    FlowRunExecutionResult,
    FlowRunExecutorContext,
    ProcessHandle,
    RunHooks,
    WarmStarter,
)
from prefect_lifespan.warm_worker.warm_process import GRACE_SECONDS

_PROCESSES = 4
_DRAIN_SECONDS = 30.0

ConfigurationClass = type[ProcessJobConfiguration]
VariablesClass = type[ProcessVariables] | None


class LifespanWorker(ProcessWorker):
    """Polls a work pool of type `lifespan`, and runs its flow runs in processes that stay.

    Start it with `prefect worker start --pool POOL --type lifespan`. See docs/how-to/warm-worker.md.
    """

    type = "lifespan"
    job_configuration: ConfigurationClass = LifespanJobConfiguration
    job_configuration_variables: VariablesClass = LifespanVariables

    _description = (
        "Execute flow runs in warm processes, which keep what lives as long as a process open from run to run: no new "
        "interpreter, no imports and no new connection pools for each run."
    )
    _display_name = "Lifespan"
    _documentation_url = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pool = Pool(lambda: self._logger)
        self._hooks = RunHooks(self._pool)
        self._executors = FlowRunExecutorContext()
        self._under_way = 0
        self._all_ended = anyio.Event()

    async def setup(self) -> None:
        """Prefect's own; and no more runs are taken at a time than there may be processes."""
        await super().setup()
        await anyio.to_thread.run_sync(remove_what_is_left)
        self._limiter = anyio.CapacityLimiter(self._most_runs())
        await self._executors.__aenter__()

    async def sync_with_backend(self) -> None:
        """Prefect's own; and what the work pool says of processes holds from now on."""
        await super().sync_with_backend()
        if self._limiter is not None:
            self._limiter.total_tokens = self._most_runs()

    async def teardown(self, *exc_info: Any) -> None:
        """Let runs end within the time that the work pool states, and close all processes; then Prefect's own."""
        self.is_setup = False
        with anyio.CancelScope(shield=True):
            await self._drain()
        # It waits for cancellations under way, and has a task group, so it is left in the task that has entered it.
        await self._executors.__aexit__(None, None, None)
        await super().teardown(*exc_info)

    async def run(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect's own workers narrow it as well
        self,
        flow_run: FlowRun,
        configuration: LifespanJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run it in a warm process; what says itself by which command it runs, in a process of its own."""
        if configuration.has_own_command:
            return await super().run(flow_run, configuration, task_status)
        self._under_way += 1
        try:
            return await self._run_warm(flow_run, configuration, task_status or anyio.TASK_STATUS_IGNORED)
        finally:
            self._hooks.ended(flow_run.id)
            self._under_way -= 1
            if not self._under_way:
                self._all_ended.set()
                self._all_ended = anyio.Event()

    async def _run_warm(
        self, flow_run: FlowRun, configuration: LifespanJobConfiguration, task_status: anyio.abc.TaskStatus[int]
    ) -> ProcessWorkerResult:
        starter = WarmStarter(configuration.job(), self._pool, self._executors.control_channel, self._hooks)
        executor = self._executors.create_executor(flow_run, starter, propose_submitting=False, hook_runner=self._hooks)
        execution: FlowRunExecutionResult | None = None

        async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED) -> None:
            nonlocal execution
            execution = await executor.submit(task_status=task_status)

        async with anyio.create_task_group() as task_group:
            handle = await task_group.start(execute)
            task_status.started(handle.pid)
        if execution is None or execution.status_code is None:
            raise RuntimeError("The flow run ended without a status, although its process had begun it.")
        return ProcessWorkerResult(status_code=execution.status_code, identifier=str(handle.pid))

    def _most_runs(self) -> int:
        processes = default_of(self._work_pool, "processes", _PROCESSES)
        return min(processes, self._limit or processes)

    async def _drain(self) -> None:
        seconds = float(default_of(self._work_pool, "drain_seconds", _DRAIN_SECONDS))
        if self._under_way:
            self._logger.info("Waiting up to %g s for %d flow run(s) to end", seconds, self._under_way)
            with anyio.move_on_after(seconds):
                await self._until_all_have_ended()
        with anyio.move_on_after(GRACE_SECONDS) as grace:
            await self._pool.close(signal.SIGTERM)
            await self._until_all_have_ended()
        if grace.cancelled_caught:
            self._logger.warning("Processes that have not ended within %g s are killed", GRACE_SECONDS)
            await self._pool.close(signal.SIGKILL)
            with anyio.move_on_after(
                GRACE_SECONDS
            ):  # Prefect's executor says that their runs have crashed, and has hooks run
                await self._until_all_have_ended()

    async def _until_all_have_ended(self) -> None:
        if self._under_way:
            await self._all_ended.wait()
