"""One exception, as a signal handler raises it, at each line that the library runs in the main thread: what is then left?

`python -m tests.lifespans.every_line MODES STEP OFFSET [HOW]` tries every STEP-th line from OFFSET on of each mode (parted by
commas), in forked children, and prints what it found as JSON, a line for each mode: how many were tried, and the findings,
each with its line. HOW is "raise", at the line itself, or "signal": a real one arrives there, whose handler raises where it
is called.

A child goes on with the next line until something is found: what one exception has left behind in the process, such as a
lock that is taken, is found by the next ones. Lines that run only where a process does something for the first time have a
child each.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import _base
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, NoReturn

import prefect_lifespan
from prefect_lifespan.scope import current_scope
from tests.interrupting import DOORS
from tests.lifespans.every_line_modes import MODES, WITHOUT_A_BLOCK, close_the_model, closed, failed_beside, opened

ROOT = os.path.dirname(prefect_lifespan.__file__)  # noqa: PTH120 - compared with the file names of code objects
WITH_DOORS = (threading.__file__, _base.__file__)
PATIENCE_SECONDS = 60
TOGETHER = 100  # trials in one child at most: what they leave in memory is bounded

Function = Callable[[], None]


class Terminated(BaseException):
    """What a handler of SIGTERM raises."""


def terminate(*_: object) -> NoReturn:
    raise Terminated


def send(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


HOW: dict[str, Function] = {"raise": terminate, "signal": send}


@dataclass
class Found:
    """What came of one trial."""

    where: str | None = None  # None where the line did not run
    findings: list[str] = field(default_factory=list[str])


class Said(logging.Handler):
    """Takes what asyncio says of exceptions that nobody else hears of: those of callbacks, and of tasks that nobody asks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        failed_beside.append(f"asyncio said: {record.getMessage()[:200]}")


def left_open(function: Function) -> list[str]:
    left = sorted(set(opened) - set(closed) - ({"model"} if function in WITHOUT_A_BLOCK else set()))
    return [f"left open: {left}"] if left else []


def is_one(frame: Any) -> bool:
    """Whether something may arrive in it: it is the library's, or a door that the library goes through."""
    if frame.f_code in DOORS:
        frame = frame.f_back
        while frame.f_code.co_filename in WITH_DOORS:
            frame = frame.f_back
    return frame.f_code.co_filename.startswith(ROOT)


class Line(NamedTuple):
    """A line that runs: of which function, and as the how manyeth of that.

    To count all lines up to it would take longer than what is tried.
    """

    file: str
    function: int  # its first line
    line: int
    number: int


def lines_of(function: Function) -> list[Line]:
    """The lines of the library that run in the main thread, in their order."""
    lines: list[Line] = []
    numbers: Counter[tuple[str, int]] = Counter()

    def local(frame: Any, event: str, _: object) -> Any:
        code = frame.f_code
        if event == DOORS.get(code, "line"):
            name = code.co_filename, code.co_firstlineno
            numbers[name] += 1
            lines.append(Line(*name, frame.f_lineno, numbers[name]))
        return local

    sys.settrace(lambda frame, *_: local if is_one(frame) else None)
    try:
        function()
    finally:
        sys.settrace(None)
    _forget(function)
    return lines


def trial(function: Function, line: Line, arrive: Function) -> Found:
    """Let it arrive at a line: where that was, and what is wrong afterwards."""
    count, where = 0, None
    file, first, _, number = line

    def local(frame: Any, event: str, _: object) -> Any:
        nonlocal count, where
        if event == DOORS.get(frame.f_code, "line") and where is None:
            count += 1
            if count == number:
                name = os.path.relpath(frame.f_code.co_filename, ROOT)
                where = f"{name}:{frame.f_lineno} {frame.f_code.co_qualname}"
                arrive()
        return local

    def tracer(frame: Any, _: str, __: object) -> Any:
        code = frame.f_code
        is_there = code.co_firstlineno == first and code.co_filename == file and where is None and is_one(frame)
        return local if is_there else None

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
    gc.collect()  # what asyncio says of tasks that nobody asks, and engines that keep open what they share with the process
    findings += [finding for finding in left_open(function) if finding not in findings]
    findings += failed_beside
    findings += ["closed twice"] if len(closed) != len(set(closed)) else []
    findings += ["a lifespan is still in force"] if current_scope().lifespans else []
    findings += [] if signal.getsignal(signal.SIGTERM) is terminate else ["signals are still held back"]
    return Found(where, findings)


def _forget(function: Function) -> None:
    """Let the next trial begin as this one has."""
    if function in WITHOUT_A_BLOCK:
        close_the_model()
    opened.clear()
    closed.clear()
    failed_beside.clear()


def trials(function: Function, lines: list[Line], arrive: Function) -> Iterator[Found]:
    """One after the other, until something is found."""
    for line in lines:
        found = trial(function, line, arrive)
        yield found
        if found.findings:
            return
        _forget(function)


def in_a_child(work: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """What a forked child yields, which is ended when it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as answers:
            for answer in work():
                answers.write(json.dumps(answer).encode() + b"\n")
        os._exit(0)
    os.close(writing)
    left = b""
    while select.select([reading], [], [], PATIENCE_SECONDS)[0] and (read := os.read(reading, 65536)):
        *lines, left = (left + read).split(b"\n")
        yield from map(json.loads, lines)
    os.close(reading)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def tried(function: Function, lines: list[Line], arrive: Function, together: int = TOGETHER) -> Iterator[Found]:
    """What came of each; where others were tried before in that child, a finding is tried again without them."""
    while lines:
        some, said, ended = lines[:together], 0, False
        for answer in in_a_child(lambda some=some: map(asdict, trials(function, some, arrive))):
            said += 1
            found = Found(**answer)
            ended = bool(found.findings)
            if ended and said > 1:
                [alone] = tried(function, [some[said - 1]], arrive, 1)
                behind = f"(behind {said - 1} others in one process)"
                found.findings = alone.findings or [f"{finding} {behind}" for finding in found.findings]
            yield found
        if said < len(some) and not ended:
            yield Found(str(some[said]), ["hangs, or ends the process"])
            said += 1
        lines = lines[said:]


def main(mode: str, step: int, offset: int, how: str = "raise") -> None:
    for name in ("prefect_lifespan", "prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, terminate)
    threading.excepthook = lambda failed: failed_beside.append(f"a thread failed: {failed.exc_value!r}")
    logging.getLogger("asyncio").addHandler(Said())
    function, arrive = MODES[mode], HOW[how]
    function()  # what is done once in a program is done
    assert not failed_beside, failed_beside
    _forget(function)
    gc.freeze()
    first, again = ([Line(*line) for line in lines] for lines in in_a_child(lambda: map(lines_of, [function] * 2)))
    known = {line[:3] for line in again}
    once = [line for line in first if line[:3] not in known]
    results = [*tried(function, once[offset::step], arrive, 1), *tried(function, again[offset::step], arrive)]
    findings = [f"{finding} at {found.where}" for found in results if found.where for finding in found.findings]
    lines = len(once) + len(again)
    print(json.dumps({"mode": mode, "lines": lines, "tried": len(results), "findings": findings}), flush=True)


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
