"""One warm process as the worker has it: started, given one run after another, closed.

All of it is called on the worker's event loop. The process ends by itself when the connection breaks, so none outlives
the worker for long, whatever ends that.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect_lifespan.warm_worker.configuration import Job, Kind
from prefect_lifespan.warm_worker.folders import Folder
from prefect_lifespan.warm_worker.messages import (
    LENGTH_BYTES,
    Begins,
    Close,
    Ended,
    Message,
    Run,
    Stale,
    length_of,
    packed,
    unpacked,
)
from prefect_lifespan.warm_worker.states import State, checked

# As long as Prefect gives the process of a run that it terminates.
GRACE_SECONDS = 30.0


class WarmProcess:
    """A process for one kind of job."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.state: State = State.STARTING
        self.runs: int = 0
        self.memory_bytes = 0
        self.idle_since: float = 0.0
        self.is_terminated: bool = False  # somebody sent it a signal
        self.left_a_run: bool = False  # it had one when it went, whose hooks may still ask for the code
        self._folder = Folder()  # for the code that it pulls
        self.exit_code: int | None = None
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._gone = asyncio.Event()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()  # None: there will be no more
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def started(cls, kind: Kind) -> WarmProcess:
        """A new process, which is still at its imports."""
        self = cls(kind)
        ours, theirs = socket.socketpair()
        with theirs:
            output = None if kind.stream_output else subprocess.DEVNULL
            options = {
                "folder": str(self._folder.path),
                "working_dir": str(kind.working_dir) if kind.working_dir is not None else None,
                "container": kind.container,
                "health_check_seconds": kind.health_check_seconds,
                "grace_seconds": GRACE_SECONDS,
            }
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "prefect_lifespan.warm_worker", str(theirs.fileno()), json.dumps(options)),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=kind.working_dir or self._folder.path,
                    env=dict(kind.environment),
                    pass_fds=[theirs.fileno(), self._folder.descriptor],
                    start_new_session=True,  # a signal to it reaches what its runs have started, and ours do not reach it
                )
            except BaseException:
                ours.close()
                self._has_gone(None)
                self.clean()
                raise
        ours.settimeout(0)
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self._keep(self._listen(reader))
        return self

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        assert self._process is not None, "it has started"
        return self._process.pid

    @property
    def has_run(self) -> bool:
        """Whether it had a run before the one that it was given last."""
        return self.runs > 1

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self.state is State.GONE

    def become(self, state: State) -> None:
        """Change its state."""
        self.state = checked(self.state, state)

    async def begin(self, flow_run_id: UUID, job: Job, control: dict[str, str]) -> Begins | Stale | Ended | None:
        """Give it a run. It begins, or cannot, or has ended at once; None where the process has gone.

        `control` are variables by which the run finds the worker's control channel.
        """
        self.become(State.RUNNING)
        self.runs += 1
        self._send(Run(str(flow_run_id), {**job.environment, **control}))
        answer = await self._answers.get()
        assert not isinstance(answer, (Run, Close)), "only the worker says so"
        return answer

    async def end_of_run(self) -> Ended | None:
        """Wait for the end of the run that it has begun; None where the process has gone before."""
        answer = await self._answers.get()
        assert answer is None or isinstance(answer, Ended), "a run that has begun ends"
        return answer

    def runs_folder(self, flow_run_id: UUID) -> Path:
        """Where it keeps what belongs to one run, until that has ended well."""
        return self._folder.path / "runs" / str(flow_run_id)

    def terminate(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started; it gets no other run."""
        self.is_terminated = True
        if self.state not in (State.CLOSING, State.GONE):
            self.become(State.CLOSING)
        os.killpg(self.pid, number)

    def close(self) -> None:
        """Let it close what is open, and end; it is killed where that takes longer than the grace."""
        if self.state in (State.CLOSING, State.GONE):
            return
        self.become(State.CLOSING)
        self._send(Close())
        self._keep(self._killed_after_grace())

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._gone.wait()

    def clean(self) -> None:
        """Remove the code that it has pulled."""
        self._folder.remove()

    def _send(self, message: Message) -> None:
        assert self._writer is not None, "it has started"
        self._writer.write(packed(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        assert self._process is not None, "it has started"
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = length_of(await reader.readexactly(LENGTH_BYTES))
                self._answers.put_nowait(unpacked(await reader.readexactly(length)))
        self._has_gone(await self._process.wait())

    def _has_gone(self, exit_code: int | None) -> None:
        self.exit_code = exit_code
        self.left_a_run = self.state is State.RUNNING or self.is_terminated
        self.become(State.GONE)
        self._answers.put_nowait(None)
        self._gone.set()
        if self._writer is not None:
            self._writer.close()

    async def _killed_after_grace(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._gone.wait()
        if not self.is_gone:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
