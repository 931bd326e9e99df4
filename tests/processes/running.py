"""Programs in processes of their own, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psutil
import psycopg
from prefect.client.orchestration import SyncPrefectClient
from sqlalchemy import URL

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90.0


def eventually(
    condition: Callable[[], T], description: str, tell: Callable[[], str] = str, *, every_seconds: float = 0.02
) -> T:
    """Wait until something holds; what it came to."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := condition()):
        assert time.monotonic() < deadline, f"never came true: {description}\n{tell()}"
        time.sleep(every_seconds)
    return result


def reaches_state(client: SyncPrefectClient, run: UUID, name: str) -> None:
    """Wait until a run is in a state."""

    def state() -> str:
        found = client.read_flow_run(run).state
        return str(found.name) if found is not None else "none"

    # Whoever asks more often takes the processor time of those that are to get there.
    eventually(lambda: state() == name, f"the run is {name}", state, every_seconds=0.1)


def conninfo(url: URL) -> str:
    """A database's address as psycopg takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def connections(database: psycopg.Connection, name: str) -> int:
    """How many connections of an application PostgreSQL has."""
    found = database.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [name]).fetchone()
    assert found is not None
    return int(found[0])


@dataclass
class Zygote:
    """The process that programs are forked from; see zygote.py."""

    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def running(cls, environment: dict[str, str]) -> Iterator[Zygote]:
        """Start it, and end it with everything that it started."""
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.processes.zygote"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(PATIENCE_SECONDS)

    def ask(self, **command: Any) -> Any:
        """Give a command, get its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@dataclass
class Program:
    """One program's process."""

    zygote: Zygote
    folder: Path
    pid: int
    exit_code: int | None = None

    def marks(self) -> list[str]:
        """The lines that it has left so far."""
        path = self.folder / "marks"
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text()

    def _tell(self) -> str:
        return "\n".join([*self.marks(), self.log()])

    def reaches(self, *lines: str) -> None:
        """Wait until it has left these lines."""
        for line in lines:
            eventually(
                lambda line=line: line in self.marks() or self.has_ended(), f"the program marks {line!r}", self._tell
            )
            assert line in self.marks(), f"it ended without {line!r}:\n{self._tell()}"

    def prints(self, text: str) -> None:
        """Wait until it has printed this."""
        eventually(lambda: text in self.log(), f"the program prints {text!r}", self._tell)

    def tell(self, order: str) -> None:
        """Give the program an order that it waits for."""
        with (self.folder / "orders").open("a") as orders:
            orders.write(f"{order}\n")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert not self.has_ended(), f"it ended before the signal:\n{self._tell()}"
        os.kill(self.pid, number)

    def ends(self) -> int:
        """Wait until it has ended; its exit code, negative for a signal."""
        eventually(self.has_ended, "the program ends", self._tell)
        assert self.exit_code is not None
        return self.exit_code

    def kill(self) -> None:
        """End it, and what it has started, whatever they do; nothing where it has ended."""
        if not self.has_ended():
            started = psutil.Process(self.pid).children(recursive=True)
            os.kill(self.pid, signal.SIGKILL)
            self.ends()
            for process in started:  # the runs of a runner or a worker, which would go on without it
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def has_ended(self) -> bool:
        """Whether it has."""
        if self.exit_code is None:
            self.exit_code = self.zygote.ask(do="wait", pid=self.pid)
        return self.exit_code is not None


@dataclass
class Programs:
    """Starts programs for one test, and ends those that are left."""

    zygote: Zygote
    folder: Path
    started: list[Program] = field(default_factory=list)

    def start(self, module: str, *arguments: str, **environment: str) -> Program:
        """Run a module of `programs`, or with its dotted name any other, as a program, in a folder of its own."""
        folder = self.folder / str(len(self.started))
        folder.mkdir()
        return self.start_in(folder, module, *arguments, **environment)

    def start_in(self, folder: Path, module: str, *arguments: str, **environment: str) -> Program:
        """The same in a given folder."""
        pid = self.zygote.ask(
            do="start",
            module=module if "." in module else f"tests.processes.programs.{module}",
            arguments=arguments,
            log=str(folder / "log"),
            environment={"MARKS": str(folder / "marks"), "ORDERS": str(folder / "orders"), **environment},
        )
        program = Program(self.zygote, folder, pid)
        self.started.append(program)
        return program
