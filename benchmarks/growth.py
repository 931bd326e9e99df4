"""What a process has left after many lifespans and flow runs: `python -m benchmarks.growth`.

Target of the library: nothing that grows with their number. What is made once (imports, caches, Prefect's own threads) is
there after the first tenth, which is not counted. Flow runs without a lifespan show what Prefect itself leaves.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import threading
from asyncio import TimerHandle
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import urlsplit

from dependency_injector import containers, providers

from benchmarks._harness import surroundings, table
from benchmarks._task_runners import prefect_api
from prefect_lifespan import Provide, TaskResource, inject, lifespan


def opened() -> Iterator[object]:
    yield object()


class App(containers.DeclarativeContainer):
    db = providers.Resource(opened)
    api = providers.Resource(opened)
    ledger = providers.Factory(dict, db=db)
    session = TaskResource(opened)


@inject
def work(
    db: object = Provide[App.db], ledger: object = Provide[App.ledger], session: object = Provide[App.session]
) -> None:
    pass


def one_lifespan() -> None:
    with lifespan(App):
        work()


def flow_runs() -> tuple[Callable[[], object], Callable[[], object]]:
    """A flow with a lifespan and a task that uses it, and the same without."""
    from prefect import flow, task

    injected = task(work)

    @task
    def plain() -> None:
        pass

    @flow(name="growth")
    @lifespan(App)
    def run() -> None:
        injected()

    @flow(name="growth-plain")
    def run_plain() -> None:
        plain()

    return run, run_plain


@dataclass(frozen=True)
class Left:
    """What a process has."""

    objects: int
    threads: int
    files: int
    resident_kilobytes: int

    @classmethod
    def now(cls) -> Left:
        cast("Any", urlsplit).cache_clear()  # of the last addresses that were asked: they hold the ids of runs
        gc.collect()
        with suppress(OSError, AttributeError):  # freed memory that the C library keeps is not what is left
            ctypes.CDLL(None).malloc_trim(0)
        folder = Path("/proc/self")
        files = sum(1 for _ in (folder / "fd").iterdir()) if folder.exists() else 0
        pages = int((folder / "statm").read_text().split()[1]) if folder.exists() else 0
        return cls(_objects(), threading.active_count(), files, pages * os.sysconf("SC_PAGE_SIZE") // 1024)


def _objects() -> int:
    """How many the garbage collector knows, without what is kept of each run for a while, with us or without.

    That are the events that Prefect has sent and keeps, unconfirmed: up to 700; and timers that were cancelled, which an
    event loop keeps until they are 100, with their contexts.
    """
    known = gc.get_objects()
    events: dict[int, object] = {}
    found = [each for each in known if type(each).__module__ == "prefect.events.schemas.events"]
    while found:
        each = found.pop()
        if gc.is_tracked(each) and id(each) not in events and not isinstance(each, (type, ModuleType)):
            events[id(each)] = each
            found += gc.get_referents(each)
    timers = [each for each in known if isinstance(each, TimerHandle) and each.cancelled()]
    contexts = {id(held) for timer in timers for held in gc.get_referents(timer) if isinstance(held, Context)}
    return len(known) - len(events) - len(timers) - len(contexts)


def grown(body: Callable[[], object], times: int) -> list[str]:
    """What there is more after `times` than after the first tenth of them."""
    for _ in range(max(1, times // 10)):
        body()
    before = Left.now()
    for _ in range(times - max(1, times // 10)):
        body()
    after = Left.now()
    return [
        f"{times}",
        *(f"{new - old:+}" for new, old in zip(vars(after).values(), vars(before).values(), strict=True)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--lifespans", type=int, default=10_000, help="in one process (default: %(default)s)")
    parser.add_argument("--flow-runs", type=int, default=300, help="in the same process (default: %(default)s)")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        if options.flow_runs:
            stack.enter_context(prefect_api())
        rows = [["lifespans", *grown(one_lifespan, options.lifespans)]]
        if options.flow_runs:
            with_it, without = flow_runs()
            rows.append(["flow runs without a lifespan", *grown(without, options.flow_runs)])
            rows.append(["flow runs", *grown(with_it, options.flow_runs)])
    headers = ["of", "number", "objects", "threads", "files", "resident KB"]
    print(surroundings("prefect-lifespan", "prefect"))
    print(table("What there is more after all of them than after the first tenth", headers, rows))


if __name__ == "__main__":
    main()
