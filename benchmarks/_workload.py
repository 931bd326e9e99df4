"""The work of `workers`: one flow with a lifespan, and one that does the same with a module's own global resource.

Worker processes import this module, for its container and for its global; tasks and flows come to them by value.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time, time
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def mark(marks: str, what: str) -> None:
    """Append a line at once: when, which process, and what."""
    if not marks:
        return
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{time()} {os.getpid()} {what}\n".encode())
    os.close(file)


@dataclass(frozen=True)
class Mark:
    """What a process did; `at` is the time of the machine's clock, which its processes share."""

    at: float
    pid: int
    what: str


def marks_in(path: Path) -> list[Mark]:
    lines = [line.split(" ", 2) for line in path.read_text().splitlines()]
    return [Mark(float(at), int(pid), what) for at, pid, what in lines]


@dataclass(frozen=True)
class Stamp:
    """Where a task ran, and how much processor time that process had had."""

    pid: int
    cpu: float


class Ledger:
    """The resource: what a task does with it takes no time worth mentioning."""

    def __init__(self) -> None:
        self.sum = 0

    def add(self, number: int) -> Stamp:
        self.sum += number
        return Stamp(os.getpid(), process_time())


def open_ledger(marks: str) -> Iterator[Ledger]:
    mark(marks, "opened")
    yield Ledger()
    mark(marks, "closed")


class Shop(containers.DeclarativeContainer):
    """`marks` is what a run brings."""

    marks = providers.Object("")
    ledger = providers.Resource(open_ledger, marks)


@functools.cache
def ledger_of_this_process() -> Ledger:
    """The same without the library: a global of this module, which nobody closes."""
    return Ledger()


@task
def plain_task(number: int) -> Stamp:
    return ledger_of_this_process().add(number)


@task
@inject
def injected_task(number: int, ledger: Ledger = Provide[Shop.ledger]) -> Stamp:
    return ledger.add(number)


class Counted:
    """Travels with a task, and counts how often it is pickled and unpickled in this process."""

    pickled = unpickled = 0

    def __reduce__(self) -> tuple[Callable[[], Counted], tuple[()]]:
        Counted.pickled += 1
        return _counted, ()


def _counted() -> Counted:
    Counted.unpickled += 1
    return Counted()


def _picklings(tasks: int) -> tuple[float, float]:
    """How often a task is pickled and unpickled here on its way to a worker process."""
    counted = Counted()

    @task
    def carrying(number: int) -> bool:
        return isinstance(counted, Counted)

    Counted.pickled = Counted.unpickled = 0
    assert all(carrying.map(range(tasks)).result())
    return Counted.pickled / tasks, Counted.unpickled / tasks


@dataclass(frozen=True)
class Batch:
    """Tasks that were mapped at once, when all of the runner's workers were up: their time, and where they ran.

    `cpu` is the processor time of this process and of the workers, which other programs disturb less.
    """

    seconds: float
    cpu: float
    pids: list[int]
    picklings: tuple[float, float]


def _latest(stamps: list[Stamp]) -> dict[int, float]:
    return {pid: max(stamp.cpu for stamp in stamps if stamp.pid == pid) for pid in {stamp.pid for stamp in stamps}}


def _run_batch(work: Any, *, marks: str, tasks: int, workers: int) -> Batch:
    picklings = _picklings(2)
    before: dict[int, float] = {}
    while len(before) < workers:  # processes start, import, and open what they need, before the clock does
        before |= _latest(work.map(range(2 * workers)).result())
    before[os.getpid()] = process_time()
    start = perf_counter()
    stamps = work.map(range(tasks)).result()
    seconds = perf_counter() - start
    after = {**_latest(stamps), os.getpid(): process_time()}
    mark(marks, "body ended")
    cpu = sum(after.get(pid, earlier) - earlier for pid, earlier in before.items())
    return Batch(seconds, cpu, [stamp.pid for stamp in stamps], picklings)


def _marking_its_return(function: Callable[..., Batch]) -> Callable[..., Batch]:
    @functools.wraps(function)
    def marking(marks: str, tasks: int, workers: int) -> Batch:
        batch = function(marks, tasks, workers)
        mark(marks, "flow function returned")
        return batch

    return marking


@flow
@_marking_its_return
def plain_flow(marks: str, tasks: int, workers: int) -> Batch:
    return _run_batch(plain_task, marks=marks, tasks=tasks, workers=workers)


@flow
@_marking_its_return
@lifespan(Shop, overrides=lambda marks, **_: {"marks": marks}, eager=False)
def injected_flow(marks: str, tasks: int, workers: int) -> Batch:
    return _run_batch(injected_task, marks=marks, tasks=tasks, workers=workers)
