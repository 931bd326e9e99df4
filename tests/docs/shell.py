"""The files and commands of a page, as its reader would make and give them, and what the page shows of the output.

A block of Python whose first line is `# name.py` is a file; a later one of the same name takes its place. A `console` block
is commands, each behind `$ `, with what they print below them: the lines that are shown are printed in this order, and
others may stand between them. Prefect's time and level before a line are left out, and names and seconds that are new
each time do not count.

Run as a program, this is the process that commands are forked from: it has imported Prefect, which takes seconds.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+)\n")
MODULES = {"pytest": "pytest", "prefect-lifespan": "prefect_lifespan", "prefect": "prefect"}
NEW_EACH_TIME = [
    (re.compile(r"^\d\d:\d\d:\d\d\.\d+ \| \w+ +\| "), ""),
    (re.compile(r"(low run) '[a-z]+-[a-z]+'"), r"\1 '...'"),
    (re.compile(r"(ask run '\w+)-[0-9a-f]{3}'"), r"\1-...'"),
    (re.compile(r"\d+\.\d+ ?s\b"), "0.0 s"),
]


@dataclass(frozen=True)
class Command:
    """One command of a page, and the lines of its output that the page shows."""

    line: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """One file of a page."""

    name: str
    text: str


def steps(page: Path) -> Iterator[File | Command]:
    """The files and commands of a page in their order."""
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language == "python" and (named := FILE.match(text)):
            yield File(named.group(1), text)
        elif language == "console":
            for given in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *shown = given.splitlines()
                yield Command(line, tuple(shown))


def told(line: str) -> str:
    """A line of output without what is new each time."""
    for pattern, instead in NEW_EACH_TIME:
        line = pattern.sub(instead, line)
    return line.strip()


def missing(shown: tuple[str, ...], output: str) -> str | None:
    """The first line that the page shows and the output does not have in its place."""
    printed = iter([told(line) for line in output.splitlines()])
    return next((line for line in shown if told(line) not in ("", "...") and told(line) not in printed), None)


@dataclass
class Shell:
    """Where commands are given; see the module."""

    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def running(cls, environment: dict[str, str]) -> Iterator[Shell]:
        """Start it, and end it."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.docs.shell"]
        with subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    def give(self, command: str, folder: Path) -> tuple[int, str]:
        """Run a command in a folder; its exit code and what it has printed."""
        words = shlex.split(command)
        environment = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        output = folder / ".output"
        order = {
            "words": words[len(environment) :], "environment": environment, "folder": str(folder), "output": str(output)
        }  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, output.read_text("utf-8")


def serve() -> dict[str, Any] | None:
    """Answer commands with their exit codes; returns in each forked process with the one that is to be run there."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            order: dict[str, Any] = json.loads(line)
            return order
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(order: dict[str, Any]) -> None:
    """Run a command in this forked process, as a shell would have it run in one of its own."""
    os.chdir(order["folder"])
    with open(os.devnull) as nothing, open(order["output"], "wb") as output:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update(order["environment"])
    sys.path[0] = order["folder"]
    program, *sys.argv = order["words"]
    if program == "python":
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.argv = [program, *sys.argv]
        runpy.run_module(MODULES[program], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    import prefect.flow_engine
    import prefect.main
    import prefect.task_engine  # noqa: F401
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import prefect_lifespan  # noqa: F401

    if (given := serve()) is not None:
        # Heartbeats hold up the end of each run for a second; no environment variable can say that there are none.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            become(given)
