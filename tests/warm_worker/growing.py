"""A flow that says what its process holds, for `test_growth`."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
from dependency_injector import containers, providers
from prefect import flow, get_run_logger, task

from prefect_lifespan import ProcessResource, Provide, inject, lifespan

# Prefect's services and threads, and what each of them would hold.
COUNTED = ("EventsWorker", "APILogWorker", "WorkerThread", "ClientConnection", "PrefectClient", "SyncPrefectClient")


def open_once() -> Iterator[str]:
    yield "open"


class App(containers.DeclarativeContainer):
    pool = ProcessResource(open_once)
    session = providers.Resource(open_once)


@task
@inject
def uses(session: str = Provide[App.session]) -> str:
    get_run_logger().info("used")
    return session


def held() -> dict[str, int]:
    """What the process holds now."""
    gc.collect()
    process, kinds = psutil.Process(), [type(each).__name__ for each in gc.get_objects()]
    return {
        "threads": threading.active_count(),
        "files": process.num_fds(),
        "tasks": len(asyncio.all_tasks()),
        **{name: kinds.count(name) for name in COUNTED},
    }


def note(file: str) -> None:
    with Path(file).open("a") as lines:
        lines.write(json.dumps(held()) + "\n")


@flow
@lifespan(App)
async def grows(file: str, pool: str = Provide[App.pool]) -> None:
    get_run_logger().info("runs")
    uses()
    note(file)
