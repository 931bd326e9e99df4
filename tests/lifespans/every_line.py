"""One exception, as a signal handler raises it, at each line that the library runs in the main thread: what is then left?

`python -m tests.lifespans.every_line MODES STEP OFFSET [HOW]` tries every STEP-th line from OFFSET on of each mode (parted by
commas, each in a process of its own), each in a forked child, and prints what it found as JSON, a line for each mode: how
many were tried, and the findings, each with its line. HOW is "raise", at the line itself, or "signal": a real one arrives
there, whose handler raises where it is called.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import prefect_lifespan
from prefect_lifespan.scope import current_scope
from tests.lifespans.every_line_modes import MODES, WITHOUT_A_BLOCK, closed, failed_beside, opened

ROOT = os.path.dirname(prefect_lifespan.__file__)  # noqa: PTH120 - compared with the file names of code objects
PATIENCE_SECONDS = 60


class Terminated(BaseException):
    """What a handler of SIGTERM raises."""


def terminate(*_: object) -> NoReturn:
    raise Terminated


def send(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


HOW: dict[str, Callable[[], None]] = {"raise": terminate, "signal": send}


def left_open(function: Callable[[], None]) -> list[str]:
    left = sorted(set(opened) - set(closed) - ({"model"} if function in WITHOUT_A_BLOCK else set()))
    return [f"left open: {left}"] if left else []


def trial(function: Callable[[], None], number: int, arrive: Callable[[], None]) -> tuple[int, str | None, list[str]]:
    """Let it arrive at the line of that number: how many lines ran, which one it was, and what is wrong afterwards."""
    count, where = 0, None

    def local(frame: Any, event: str, _: object) -> Any:
        nonlocal count, where
        if event == "line" and where is None:
            count += 1
            if count == number:
                name = os.path.relpath(frame.f_code.co_filename, ROOT)
                where = f"{name}:{frame.f_lineno} {frame.f_code.co_qualname}"
                arrive()
        return local

    def tracer(frame: Any, _: str, __: object) -> Any:
        return local if frame.f_code.co_filename.startswith(ROOT) and where is None else None

    findings: list[str] = []
    sys.settrace(tracer)
    try:
        function()
        findings += ["swallowed"] if where else []
    except Terminated as error:  # whose traceback keeps generators alive that would close when they are dropped
        findings += left_open(function)
        del error
    except BaseException as error:
        findings.append(f"another error: {error!r}")
    finally:
        sys.settrace(None)
    findings += [finding for finding in left_open(function) if finding not in findings]
    findings += [f"a thread failed: {error}" for error in failed_beside]
    findings += ["closed twice"] if len(closed) != len(set(closed)) else []
    findings += ["a lifespan is still in force"] if current_scope().lifespans else []
    findings += [] if signal.getsignal(signal.SIGTERM) is terminate else ["signals are still held back"]
    return count, where, findings


def tried_in_a_child(
    function: Callable[[], None], number: int, arrive: Callable[[], None]
) -> tuple[int, str | None, list[str]]:
    """The same in a process of its own, which is ended when it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, json.dumps(trial(function, number, arrive)).encode())
        os._exit(0)
    os.close(writing)
    ready = select.select([reading], [], [], PATIENCE_SECONDS)[0]
    answer = os.read(reading, 65536) if ready else b""
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not answer:
        return number, f"line number {number}", ["hangs"]
    lines, where, findings = json.loads(answer)
    return lines, where, findings


def main(mode: str, step: int, offset: int, how: str = "raise") -> None:
    for name in ("prefect_lifespan", "prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, terminate)
    threading.excepthook = lambda failed: failed_beside.append(repr(failed.exc_value))
    function, arrive = MODES[mode], HOW[how]
    function()  # what is done once in a process is done
    opened.clear()
    closed.clear()
    assert not failed_beside, failed_beside
    # In a child as well: it opens its own of what lives as long as a process.
    lines, _, _ = tried_in_a_child(function, -1, arrive)
    numbers = range(1 + offset, lines + 1, step)
    results = [tried_in_a_child(function, number, arrive) for number in numbers]
    findings = [f"{finding} at {where}" for _, where, found in results if where for finding in found]
    print(json.dumps({"mode": mode, "lines": lines, "tried": len(numbers), "findings": findings}), flush=True)


def each_in_a_child(modes: str, step: int, offset: int, how: str = "raise") -> None:
    """Python and the library are loaded once for all of them."""
    for mode in modes.split(","):
        child = os.fork()
        if not child:
            try:
                main(mode, step, offset, how)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0, mode


if __name__ == "__main__":
    assert threading.active_count() == 1, "a fork takes the main thread only along"
    each_in_a_child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
