"""A flow that joins a lifespan, and leaves a line in a file for what opens and closes.

`python -m tests.workers.programs.joined <file>` runs it on a cluster of Ray that ends with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def open_marked(marks: str) -> Iterator[int]:
    pid = os.getpid()
    mark(marks, f"open {pid}")
    try:
        yield pid
    except BaseException as error:
        mark(marks, f"fail {pid} {type(error).__name__}")
        raise
    finally:
        mark(marks, f"close {pid}")


def mark(marks: str, line: str) -> None:
    with Path(marks).open("a") as file:
        file.write(f"{line}\n")


class Joined(containers.DeclarativeContainer):
    marks = providers.Object("")
    marked = providers.Resource(open_marked, marks=marks)


@task
@inject
def use(marked: int = Provide[Joined.marked]) -> int:
    return marked


@flow
@lifespan(Joined, eager=False)
def joins() -> int:
    return use.submit().result()


@flow
@lifespan(Joined, eager=False)
def joins_and_fails() -> None:
    use.submit().wait()
    raise ZeroDivisionError


def main(marks: str) -> None:
    from prefect_ray import RayTaskRunner

    from tests.workers.programs import joined  # the flow as workers import it, not that of `__main__`

    runner: Any = RayTaskRunner(init_kwargs={"num_cpus": 1, "include_dashboard": False})
    flow: Any = joined.joins.with_options(task_runner=runner)
    with lifespan(joined.Joined, overrides={"marks": marks}, eager=False):
        mark(marks, f"the flow has returned {flow()}")


if __name__ == "__main__":
    main(sys.argv[1])
