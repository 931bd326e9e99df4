"""What a process has left after many lifespans and flow runs: `python -m benchmarks.growth`.

Target of the library: nothing that grows with their number. What is made once (imports, caches, Prefect's own threads) is
there after the first tenth, which is not counted.
"""

from __future__ import annotations

import argparse
import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dependency_injector import containers, providers

from benchmarks._harness import surroundings, table
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


def one_flow_run() -> Callable[[], object]:
    from prefect import flow, task

    injected = task(work)

    @flow(name="growth")
    @lifespan(App)
    def run() -> None:
        injected()

    return run


@dataclass(frozen=True)
class Left:
    """What a process has."""

    objects: int
    threads: int
    files: int
    resident_kilobytes: int

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        folder = Path("/proc/self")
        files = sum(1 for _ in (folder / "fd").iterdir()) if folder.exists() else 0
        pages = int((folder / "statm").read_text().split()[1]) if folder.exists() else 0
        return cls(len(gc.get_objects()), threading.active_count(), files, pages * os.sysconf("SC_PAGE_SIZE") // 1024)


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
    rows = [["lifespans", *grown(one_lifespan, options.lifespans)]]
    if options.flow_runs:
        rows.append(["flow runs", *grown(one_flow_run(), options.flow_runs)])
    headers = ["of", "number", "objects", "threads", "files", "resident KB"]
    print(surroundings("prefect-lifespan", "prefect"))
    print(table("What there is more after all of them than after the first tenth", headers, rows))


if __name__ == "__main__":
    main()
