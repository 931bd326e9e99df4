"""Flows that a warm worker runs, deployed from a copy of this file: lines are marked with the label that a run is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan, resource
from tests.processes.programs import marks
from tests.processes.programs.marks import Handle, mark, wait_for_order

VERSION = "one"
mark(f"imported {VERSION} by {os.getpid()}")


def is_well(model: Handle) -> None:
    """Unwell when the test says so."""
    if marks.ordered(f"unwell {os.getpid()}"):
        raise ConnectionError("the model has gone")


@resource(health_check=is_well)
def open_model() -> Iterator[Handle]:
    if marks.ordered("models open late"):
        mark("opening a model")
        wait_for_order("open the model")
    yield from marks.blocking(f"model in {os.getpid()}")


def open_db(label: str) -> Iterator[Handle]:
    yield from marks.blocking(f"{label} db")


def open_session(label: str) -> Iterator[Handle]:
    yield from marks.blocking(f"{label} session")


class App(containers.DeclarativeContainer):
    label = providers.Object("no")
    model = ProcessResource(open_model)
    feed = ProcessResource(marks.asynchronous, "feed")
    db = providers.Resource(open_db, label)
    session = TaskResource(open_session, label)


def of_the_run(label: str, **_: object) -> dict[str, object]:
    return {"label": label}


def told(flow: Any, flow_run: Any, state: Any) -> None:
    mark(f"{flow_run.parameters['label']} hook {state.name}")


@task
@inject
def uses(label: str, session: Handle = Provide[App.session]) -> str:
    mark(f"{label} task, session {session.state}")
    return session.state


@flow(on_completion=[told], log_prints=True, persist_result=True)
@lifespan(App, overrides=of_the_run)
def counts(label: str, model: Handle = Provide[App.model], db: Handle = Provide[App.db]) -> str:
    print(f"{label} prints")
    mark(
        f"{label} body in {os.getpid()}, model {model.state}, db {db.state}, {os.environ.get('SETTING', 'unset')}, {Path.cwd().name}"
    )
    uses.submit(label).result()
    os.chdir("/")  # the next run finds nothing of it
    os.environ["SETTING"] = "left behind"
    return label


@flow
@lifespan(App, overrides=of_the_run)
async def listens(label: str, model: Handle = Provide[App.model], feed: Handle = Provide[App.feed]) -> None:
    mark(f"{label} body in {os.getpid()}, model {model.state}, feed {feed.state}")


@flow(on_cancellation=[told], on_crashed=[told])
@lifespan(App, overrides=of_the_run)
def waits(label: str, model: Handle = Provide[App.model]) -> None:
    mark(f"{label} body in {os.getpid()}")
    wait_for_order(f"{label} go on")


@flow(on_crashed=[told])
@lifespan(App, overrides=of_the_run)
def dies(label: str, model: Handle = Provide[App.model]) -> None:
    mark(f"{label} body in {os.getpid()}")
    if not os.fork():  # a child that goes on, and that nobody waits for
        os.setsid()
        wait_for_order(f"{label} is over")
        os._exit(0)
    os._exit(3)


@flow(timeout_seconds=2, on_failure=[told])
@lifespan(App, overrides=of_the_run)
def lasts(label: str, model: Handle = Provide[App.model]) -> None:
    mark(f"{label} body in {os.getpid()}")
    wait_for_order("never")
