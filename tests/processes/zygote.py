"""A process that has imported Prefect, which takes seconds, and forks a new one for each program that a test runs.

It reads one JSON command a line and answers with one. A program's process is a real one: its main thread is the forked
one, its signals are its own, and it ends as any interpreter does. When the tests go away, so do the programs.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any

import prefect.flow_engine  # what every run of a flow imports
import prefect.main
import prefect.task_engine  # noqa: F401
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

import prefect_lifespan  # noqa: F401 - the same
from tests.processes.ending import end

Command = dict[str, Any]


def serve() -> Command | None:
    """Answer commands; returns in the forked processes with what is to be run, and in this one without."""
    running: set[int] = set()
    for line in sys.stdin:
        command: Command = json.loads(line)
        if command["do"] == "start":
            pid = os.fork()
            if not pid:
                return command
            running.add(pid)
            answer: Any = pid
        else:
            pid, status = os.waitpid(command["pid"], os.WNOHANG)
            running.discard(pid)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in running:
        end(pid)
    return None


def become(command: Command) -> None:
    """Let this forked process be the program's."""
    with open(os.devnull) as nothing, open(command["log"], "ab") as log:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(command["environment"])
    if any(name.startswith("PREFECT_") for name in command["environment"]):
        refresh_global_settings_context()  # Prefect has read the environment when it was imported
    sys.argv = [command["module"], *command["arguments"]]


if __name__ == "__main__":
    to_run = serve()
    if to_run is not None:
        become(to_run)
        # Heartbeats hold up the end of each run for a second; no environment variable can say that there are none.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            runpy.run_module(to_run["module"], run_name="__main__", alter_sys=True)
