"""One flow run in a warm process, as Prefect's executor of flow runs takes it: in the place of a process of its own.

What follows from that is Prefect's: cancelling, crashes, hooks, states. Every name of Prefect's that is not public and that
the worker uses is imported here; `tests/contract/test_prefect_runner_parts.py` pins what is relied upon.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun, State
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutionResult, FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle
from prefect.runner._workspace_hook_runner import WorkspaceHookRunner

from prefect_lifespan.warm_worker.configuration import Job
from prefect_lifespan.warm_worker.messages import MANIFEST, Begins, Ended, Stale
from prefect_lifespan.warm_worker.pool import Pool
from prefect_lifespan.warm_worker.warm_process import WarmProcess

__all__ = ["FlowRunExecutionResult", "FlowRunExecutorContext", "ProcessHandle", "RunHooks", "WarmStarter"]


class RunProcess:
    """What Prefect takes for the process of one run, and for what ends it.

    It has ended when the run has, or the warm process with it. To end it is to end the whole warm process and what that has
    started, but never after the run has ended.
    """

    wait_after_graceful_kill: bool = True

    def __init__(self, process: WarmProcess) -> None:
        self.process = process  # that has it now: another one where the code of the first was stale
        self.returncode: int | None = None
        self.is_unwanted: bool = False

    @property
    def pid(self) -> int:
        """The warm process's."""
        return self.process.pid

    def is_alive(self, pid: int) -> bool:
        """Whether the run goes on."""
        return self.returncode is None

    def graceful_kill(self, pid: int) -> None:
        """Let the run end and its resources close."""
        self._kill(signal.SIGTERM)

    def hard_kill(self, pid: int) -> None:
        """End it at once."""
        self._kill(signal.SIGKILL)

    def close(self) -> None:
        """There is nothing to give back."""

    def _kill(self, number: signal.Signals) -> None:
        if self.returncode is not None:
            raise ProcessLookupError(f"the run in process {self.pid} has ended")
        self.is_unwanted = True
        self.process.terminate(number)


class WarmStarter:
    """Starts one flow run, and waits for its end."""

    def __init__(self, job: Job, pool: Pool, control: ControlChannel, hooks: RunHooks) -> None:
        self._job = job
        self._pool = pool
        self._control = control
        self._hooks = hooks

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Run it; `task_status` is told as soon as it has a process, so that it can be cancelled while that prepares it."""
        run = RunProcess(await self._pool.acquire(self._job))
        task_status.started(ProcessHandle(cast("Any", run), cast("Any", run)))  # which asks no more of it
        answer = await self._begun(flow_run.id, run)
        process = run.process
        ended = await process.end_of_run() if isinstance(answer, Begins) else answer
        if ended is not None:
            await self._pool.release(process, self._job.limits, ended)
        if ended is None or process.is_terminated:
            await process.gone()
        if ended is not None:
            run.returncode = ended.exit_code
        elif process.is_terminated:
            run.returncode = process.exit_code
        else:  # it has gone in the run, which has not ended well then, whatever it says: `os._exit(0)`
            run.returncode = process.exit_code or 1

    async def _begun(self, flow_run_id: UUID, run: RunProcess) -> Begins | Ended | None:
        """Have it begun: where a process has stale code, or has gone while it waited for a run, another one is asked for."""
        while True:
            self._hooks.expect(flow_run_id, run.process)
            try:
                answer = await run.process.begin(flow_run_id, self._job, self._variables(flow_run_id))
            except BaseException:
                self._control.unregister(flow_run_id)
                await self._pool.retire(run.process, "its run could not begin")
                raise
            if answer is None and run.process.has_run and not run.process.is_terminated:
                await self._pool.gone_unused(run.process)
            elif isinstance(answer, Stale):
                await self._pool.retire(run.process, answer.why)
            else:
                return answer
            run.process = await self._pool.acquire(self._job)
            if run.is_unwanted:  # since the old one had closed
                run.process.terminate(signal.SIGTERM)
                return None

    def _variables(self, flow_run_id: UUID) -> dict[str, str]:
        """Where the run finds the control channel, and that hooks of a cancelled run are the worker's to run."""
        ours = {"PREFECT__FLOW_RUN_ID": str(flow_run_id), "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false"}
        try:
            port, token = self._control.register(flow_run_id)
        except RuntimeError:  # it could not listen, and has said so
            return ours
        return {**ours, "PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}


class RunHooks:
    """Runs the hooks of cancelled and crashed runs, in processes of their own, with the code that the run had."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._expected: dict[UUID, WarmProcess] = {}

    def expect(self, flow_run_id: UUID, process: WarmProcess) -> None:
        """A run begins in a process, and may be cancelled or crash there."""
        self._expected[flow_run_id] = process

    def ended(self, flow_run_id: UUID) -> None:
        """A run has ended; what it leaves is not asked for any more, unless it is being cancelled."""
        process = self._expected.get(flow_run_id)
        if process is not None and not process.is_terminated:
            del self._expected[flow_run_id]
            (process.runs_folder(flow_run_id) / MANIFEST).unlink(missing_ok=True)  # it holds the environment
            self._pool.clean(process)

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State[Any]) -> None:
        """Called by Prefect when the process of a cancelled run has gone."""
        process = self._expected.pop(flow_run.id, None)
        if process is not None:
            hooks = self._hooks_of(flow_run.id, process)
            if hooks is not None:
                await hooks.run_cancellation_hooks(flow_run, state)
            await process.gone()
            self._pool.clean(process)

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State[Any]) -> None:
        """Called by Prefect when the process of a run has gone without a word."""
        process = self._expected.get(flow_run.id)
        hooks = None if process is None else self._hooks_of(flow_run.id, process)
        if hooks is not None:
            await hooks.run_crashed_hooks(flow_run, state)

    def _hooks_of(self, flow_run_id: UUID, process: WarmProcess) -> WorkspaceHookRunner | None:
        manifest: Path = process.runs_folder(flow_run_id) / MANIFEST
        if not manifest.exists():
            return None
        return WorkspaceHookRunner(manifest_path=manifest, stream_output=process.kind.stream_output)
