"""Flows that a runner, or a worker, runs in processes of their own: `python -m tests.processes.programs.served`.

Lines are marked with the label that a run is given; its resources get it from the run's parameters.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import psycopg
from dependency_injector import containers, providers
from prefect import flow, serve, suspend_flow_run, task

from prefect_lifespan import Provide, inject, lifespan
from tests.processes.programs import marks
from tests.processes.programs.marks import PATIENCE_SECONDS, Handle, mark, wait_for_order


def open_db(label: str) -> Iterator[Handle]:
    yield from marks.blocking(f"{label} db")


def open_ledger(label: str, db: Handle) -> Iterator[Handle]:
    yield from marks.blocking(f"{label} ledger", db)


def open_witness(label: str) -> Iterator[None]:
    """A connection that a real database sees, where the test has one."""
    if url := os.environ.get("DATABASE_URL"):
        with psycopg.connect(url, application_name=label):
            yield
    else:
        yield


class App(containers.DeclarativeContainer):
    label = providers.Object("no")
    witness = providers.Resource(open_witness, label)
    db = providers.Resource(open_db, label)
    ledger = providers.Resource(open_ledger, label, db)


class Asynchronous(App):
    feed = providers.Resource(marks.asynchronous, providers.Callable("{} feed".format, App.label), App.ledger)


def of_the_run(label: str, **_: object) -> dict[str, object]:
    return {"label": label}


for_label = lifespan(App, overrides=of_the_run)


def cancelled(flow: Any, flow_run: Any, state: Any) -> None:
    mark(f"{flow_run.parameters['label']} hook {state.name}")


@task(persist_result=True)
@inject
def store(label: str, rows: int, ledger: Handle = Provide[App.ledger]) -> int:
    mark(f"{label} stored {rows}, ledger {ledger.state}")
    return rows


@flow(on_cancellation=[cancelled], on_completion=[cancelled])
@for_label
def stores(label: str, wait: bool = False, db: Handle = Provide[App.db]) -> int:
    mark(f"{label} body, db {db.state}")
    stored = store.submit(label, 3)
    if wait:
        wait_for_order(f"{label} go on")
    return stored.result()


@flow(persist_result=True, on_completion=[cancelled])
@for_label
def suspends(label: str) -> None:
    store(label, 1)
    mark(f"{label} suspends")
    suspend_flow_run(timeout=300, key="once")
    mark(f"{label} goes on")


@flow(persist_result=True)
@for_label
def is_suspended(label: str) -> None:
    store(label, 1)
    mark(f"{label} body")
    wait_for_order(f"{label} go on")
    store(label, 2)
    mark(f"{label} goes on")


@flow(on_cancellation=[cancelled])
@lifespan(Asynchronous, overrides=of_the_run)
async def waits_on_a_loop(label: str, feed: Handle = Provide[Asynchronous.feed]) -> None:
    mark(f"{label} body, feed {feed.state}")
    # The loop rests meanwhile: a signal that arrives in a callback of it is lost, with or without this library.
    await asyncio.wait_for(asyncio.Event().wait(), PATIENCE_SECONDS)


if __name__ == "__main__":
    deployments: Any = [each.to_deployment("served") for each in (stores, suspends, is_suspended)]
    serve(*deployments, limit=5)
