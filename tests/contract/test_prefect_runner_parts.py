"""What the warm worker relies on in Prefect's runner and engine that is not public."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import ssl
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect._internal.concurrency.api import create_call
from prefect._internal.concurrency.threads import WorkerThread
from prefect.client import orchestration
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import LogCreate
from prefect.logging import handlers
from prefect.runner._flow_run_executor import FlowRunExecutor, FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle, ProcessManager
from prefect.runner._workspace_hook_runner import WorkspaceHookRunner
from prefect.runner._workspace_resolver import PreparedWorkspace, prepare_workspace
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from prefect_lifespan.warm_worker import engine_parts


class Standing:
    """In the place of a process and of what ends it."""

    wait_after_graceful_kill = True
    pid = 1234
    returncode: int | None = None

    def __init__(self) -> None:
        self.told: list[str] = []

    def is_alive(self, pid: int) -> bool:
        return self.returncode is None

    def graceful_kill(self, pid: int) -> None:
        self.told.append("end")
        self.returncode = -15

    def hard_kill(self, pid: int) -> None:
        self.told.append("die")

    def close(self) -> None:
        self.told.append("close")


def test_a_process_is_whatever_has_a_pid_a_return_code_and_a_scope_that_ends_it() -> None:
    standing = Standing()
    handle = ProcessHandle(standing, standing)  # pyright: ignore[reportArgumentType]

    assert (handle.pid, handle.returncode, handle.is_alive()) == (1234, None, True)
    handle.graceful_kill()
    handle.close()
    assert (handle.returncode, handle.is_alive(), standing.told) == (-15, False, ["end", "close"])


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_process_manager_ends_a_run_by_its_scope(anyio_backend: str) -> None:
    standing, run = Standing(), uuid.uuid4()
    manager = ProcessManager()
    await manager.add(run, ProcessHandle(standing, standing))  # pyright: ignore[reportArgumentType]

    await manager.kill(run, grace_seconds=3)
    await manager.remove(run)

    assert standing.told == ["end", "close"]


def test_an_executor_is_made_of_a_starter_and_what_runs_hooks() -> None:
    parameters = inspect.signature(FlowRunExecutorContext.create_executor).parameters
    assert {"flow_run", "starter", "propose_submitting", "hook_runner"} <= parameters.keys()
    assert "task_status" in inspect.signature(FlowRunExecutor.submit).parameters
    assert {"manifest_path", "stream_output"} == inspect.signature(WorkspaceHookRunner).parameters.keys()


def test_a_workspace_is_prepared_in_the_process_that_asks_and_says_where_its_code_is() -> None:
    assert [*inspect.signature(prepare_workspace).parameters] == ["client", "flow_run", "deployment", "workspace_root"]
    assert {"workspace_root", "working_directory", "runtime_entrypoint", "environment"} <= {
        *PreparedWorkspace.model_fields
    }


def test_the_control_channel_is_configured_anew_after_it_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        monkeypatch.setenv("PREFECT__CONTROL_PORT", "1")
        monkeypatch.setenv("PREFECT__CONTROL_TOKEN", "token")
        engine_parts.configure_from_env()
        assert "PREFECT__CONTROL_TOKEN" not in os.environ
        engine_parts.stop_control_listener()
    assert engine_parts.get_intent() is None
    assert not engine_parts.engine_outcome_is_handled()


def test_the_command_for_hooks_is_of_the_engines_interpreter() -> None:
    command = engine_parts.hook_command(["python", "-m", "prefect.engine"])
    assert command is not None
    assert (command[0], command[-1]) == ("python", "hook")
    assert Path(command[1]).exists()


def test_a_process_worker_says_whether_its_command_is_configured() -> None:
    assert ProcessJobConfiguration()._command_configured is False
    assert {"run", "_submit_adhoc_run"} <= vars(ProcessWorker).keys()


def test_clients_share_what_they_have_read_of_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestration, "ssl", ssl)  # it is put back behind the test
    made = [0]
    create = ssl.create_default_context

    def counting(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        made[0] += 1
        return create(*args, **kwargs)

    monkeypatch.setattr(ssl, "create_default_context", counting)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        for share, number in ((lambda: None, 2), (engine_parts.share_tls_contexts, 1)):
            made[0] = 0
            share()
            get_client()
            get_client(sync_client=True)
            assert made == [number]


def test_a_worker_keeps_the_limit_that_it_was_given_until_it_is_set_up() -> None:
    worker = ProcessWorker(work_pool_name="nobody's", limit=3)
    assert (worker._limit, worker._limiter, worker._work_pool) == (3, None, None)


def test_a_thread_that_has_ended_is_kept_until_it_is_forgotten() -> None:
    def kept() -> list[Any]:
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, WorkerThread) and each.name == "for a contract"]

    portal = WorkerThread(name="for a contract", run_once=True)
    portal.submit(create_call(int)).result()
    portal.thread.join(10)
    del portal
    assert len(kept()) == 1

    engine_parts.forget_ended_threads()
    assert kept() == []


def test_what_runs_log_may_be_taken_from_the_handler_as_the_client_sends_it() -> None:
    taken: list[dict[str, Any]] = []
    handlers.set_api_log_sink(taken.append)
    try:
        with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
            record = logging.LogRecord("prefect.flow_runs", logging.INFO, "", 0, "a line", (), None)
            record.flow_run_id = str(uuid.uuid4())
            handlers.APILogHandler().emit(record)
    finally:
        handlers.set_api_log_sink(None)

    [line] = taken
    assert line.pop("__payload_size__") > 0
    assert LogCreate.model_validate(line).message == "a line"
