"""The life of a warm process: it waits for a run, has one at a time, and closes what is open when it is told to end.

Between runs, and in an asynchronous one, the process's event loop runs in the main thread, where Prefect wants flows to be.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import load_flow_run
from prefect.logging.loggers import flow_run_logger
from prefect.states import Crashed

from prefect_lifespan.warm_worker.clients import Clients
from prefect_lifespan.warm_worker.code import Code, StaleCode
from prefect_lifespan.warm_worker.engine_parts import PreparedWorkspace, forget_ended_threads
from prefect_lifespan.warm_worker.inbox import Inbox
from prefect_lifespan.warm_worker.keeping import Kept
from prefect_lifespan.warm_worker.manifests import has_hooks, write_manifest
from prefect_lifespan.warm_worker.memory import memory_bytes
from prefect_lifespan.warm_worker.messages import MANIFEST, Begins, Close, Ended, Run, Stale
from prefect_lifespan.warm_worker.restoring import as_it_was
from prefect_lifespan.warm_worker.run_log import RunLog
from prefect_lifespan.warm_worker.running import (
    Outcome,
    Terminated,
    control_channel,
    outcome_of,
    run_in_engine,
    run_on_loop,
    tell,
)


@dataclass(frozen=True)
class Options:
    """What the worker says when it starts the process."""

    folder: str
    working_dir: str | None
    container: str | None
    health_check_seconds: float
    grace_seconds: float


class Serving:
    """The process, from its first run to its end."""

    def __init__(self, connection: socket.socket, options: Options) -> None:
        self._options = options
        self._runner = asyncio.Runner()
        self._clients = Clients(self._runner)
        self._log = RunLog()
        self._inbox = Inbox(connection, self._runner.get_loop(), self._worker_is_lost)
        working_dir = None if options.working_dir is None else Path(options.working_dir)
        self._code = Code(Path(options.folder), working_dir)
        self._kept = Kept(options.container, options.health_check_seconds, self._runner)
        self._under_way: UUID | None = None
        self._is_alone: bool = False  # its worker has gone

    def serve(self) -> int:
        """Have one run after another, until the worker says that it is enough; then close what is open."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminated)
        self._log.begin()
        with ExitStack() as closing:  # from the last to the first, whatever becomes of another one
            closing.callback(self._remove_folder_when_alone)
            closing.callback(self._log.flush)
            closing.callback(self._runner.close)
            closing.callback(self._clients.close)
            closing.callback(self._kept.close)
            while isinstance(message := self._runner.run(self._inbox.get()), Run):
                self._inbox.send(self._answered(message))
        return 0

    def _answered(self, message: Run) -> Ended | Stale:
        """Have a run; what the worker is told in the end."""
        flow_run_id = UUID(message.flow_run_id)
        try:
            outcome = self._had(flow_run_id, message.environment)
        except StaleCode as stale:
            return Stale(str(stale))
        if outcome.unfit is not None:
            self._inbox.put(Close())
        return Ended(outcome.exit_code, memory_bytes(), outcome.unfit)

    def _had(self, flow_run_id: UUID, environment: dict[str, str]) -> Outcome:
        with as_it_was(environment), control_channel():
            self._under_way = flow_run_id
            try:
                outcome = self._run(flow_run_id)
            except Terminated as error:
                outcome = outcome_of(error)
            finally:
                self._under_way = None
            self._log.flush()
            if not _shows_what_was_printed():
                outcome = replace(outcome, unfit=outcome.unfit or "its run has closed the standard output")
        if outcome.unfit is None:
            self._code.ended(flow_run_id, is_asked_for=outcome.exit_code != 0)
            forget_ended_threads()
        return outcome

    def _run(self, flow_run_id: UUID) -> Outcome:
        context = self._clients.context()
        flow_run = context.run(load_flow_run, flow_run_id)
        try:
            workspace = run_on_loop(self._code.pull(flow_run), self._runner)
            flow = self._code.load(workspace)
        except StaleCode:
            raise
        except Exception:
            flow_run_logger(flow_run).exception("Unexpected exception encountered when trying to load flow")
            return Outcome(1, "its code could not be loaded")
        try:
            self._kept.make_ready()
        except Exception:
            flow_run_logger(flow_run).exception("What the process keeps open could not be opened")
            return Outcome(1, "what it keeps open could not be opened")
        self._leave_manifest(flow_run, workspace)
        self._log.flush()  # what was said of the code's pulling is there whatever becomes of the process in the run
        self._inbox.send(Begins())
        error = run_in_engine(flow, flow_run, self._runner, context)
        tell(error)
        return outcome_of(error)

    def _leave_manifest(self, flow_run: FlowRun, workspace: PreparedWorkspace) -> None:
        flow = self._code.flow
        if flow is not None and has_hooks(flow):
            write_manifest(self._code.folder_of(flow_run.id) / MANIFEST, workspace)

    def _terminated(self, number: int, _: FrameType | None) -> None:
        """A signal where Prefect's engine has none of its own: a run ends there, and so does the process after it."""
        if self._under_way is not None:
            raise Terminated(128 + number)
        self._inbox.put(Close())

    def _worker_is_lost(self) -> None:
        """The worker has gone without a word; called in a thread. The run, if there is one, ends as by SIGTERM."""
        self._is_alone = True
        flow_run_id = self._under_way
        threading.Thread(target=self._end_after_grace, args=[flow_run_id], daemon=True).start()
        if flow_run_id is not None:
            os.kill(os.getpid(), signal.SIGTERM)

    def _end_after_grace(self, flow_run_id: UUID | None) -> None:
        """What cannot be interrupted is killed, with what it has started; nobody else would say that the run crashed."""
        _sleep(self._options.grace_seconds)
        if flow_run_id is not None:
            with suppress(Exception), get_client(sync_client=True) as client:
                found = client.read_flow_run(flow_run_id).state
                if found is None or not found.is_final():
                    client.set_flow_run_state(
                        flow_run_id, Crashed(message="The worker of the run has gone."), force=True
                    )
        self._remove_folder()
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def _remove_folder_when_alone(self) -> None:
        if self._is_alone:
            self._remove_folder()

    def _remove_folder(self) -> None:
        """Nobody else does, until the next worker starts."""
        shutil.rmtree(self._options.folder, ignore_errors=True)


def _shows_what_was_printed() -> bool:
    """In a file or a pipe that would wait for the process's end. Whether more can be printed."""
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)
