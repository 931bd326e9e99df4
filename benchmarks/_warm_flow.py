"""The flow that `warm_worker` measures: it imports what a small report does, and has one resource of the process.

It leaves a line in the file that MARKS names: the time of its first line, and its process. As a program it serves itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from dependency_injector import containers, providers
from prefect import flow

from prefect_lifespan import ProcessResource, Provide, lifespan


def mark(line: str) -> None:
    """Append a line."""
    with Path(os.environ["MARKS"]).open("a") as marks:
        marks.write(line + "\n")


def open_pool() -> Iterator[sqlalchemy.Engine]:
    """A pool with one connection that was used."""
    mark(f"opened {os.getpid()}")
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect():
        yield engine
    engine.dispose()


class App(containers.DeclarativeContainer):
    pool = ProcessResource(open_pool)
    report = providers.Factory(dict, engine=pool)


@flow
@lifespan(App)
def first_line(number: int, report: dict[str, object] = Provide[App.report]) -> None:
    mark(f"begun {number} {time.time()} {os.getpid()}")


if __name__ == "__main__":
    first_line.serve(name="flow.serve()", pause_on_shutdown=False)
