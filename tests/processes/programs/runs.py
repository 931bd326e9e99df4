"""Flows that wait for the test to end them: `python -m tests.processes.programs.runs <which>`."""

from __future__ import annotations

import asyncio
import sys
import threading

from dependency_injector import containers, providers
from prefect import flow, pause_flow_run, task
from prefect.context import FlowRunContext
from prefect.flow_runs import apause_flow_run, asuspend_flow_run

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from prefect_lifespan.lifespans import grace
from tests.processes.programs.marks import (
    Handle,
    asynchronous,
    await_order,
    blocking,
    mark,
    quick,
    quick_blocking,
    slow,
    stubborn,
    wait_for_order,
)

grace.TERMINATION_GRACE_SECONDS = 2.0


class Blocking(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    ledger = providers.Resource(blocking, "ledger", db)
    cache = providers.Resource(blocking, "cache")
    booking = TaskResource(blocking, "booking", ledger)


class Asynchronous(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    pool = providers.Resource(asynchronous, "pool", db)
    feed = providers.Resource(asynchronous, "feed", pool, db)


class Stubborn(containers.DeclarativeContainer):
    db = providers.Resource(blocking, "db")
    ledger = providers.Resource(stubborn, "ledger", db)


class Slow(containers.DeclarativeContainer):
    db = providers.Resource(asynchronous, "db")
    pool = providers.Resource(slow, "pool", db)
    feed = providers.Resource(asynchronous, "feed", pool, db)


class Quick(containers.DeclarativeContainer):
    r0 = providers.Resource(quick, "r0")
    r1 = providers.Resource(quick, "r1", r0)
    r2 = providers.Resource(quick, "r2")
    r3 = providers.Resource(quick, "r3", r1, r2)
    r4 = providers.Resource(quick, "r4", r3)
    r5 = providers.Resource(quick, "r5", r2)
    r6 = providers.Resource(quick, "r6", r4, r5)
    r7 = providers.Resource(quick, "r7", r6)


class QuickBlocking(containers.DeclarativeContainer):
    r0 = providers.Resource(quick_blocking, "r0")
    r1 = providers.Resource(quick_blocking, "r1", r0)
    r2 = providers.Resource(quick_blocking, "r2")
    r3 = providers.Resource(quick_blocking, "r3", r1, r2)
    r4 = providers.Resource(quick_blocking, "r4", r3)


class Inner(containers.DeclarativeContainer):
    inner = providers.Resource(blocking, "inner")


def wait_for_the_end() -> None:
    mark("body")
    threading.Event().wait(90)


@flow
def without_lifespan() -> None:
    wait_for_the_end()


@flow
async def asynchronous_without_lifespan() -> None:
    mark("body")
    await asyncio.Event().wait()


@flow
@lifespan(Blocking)
def sync() -> None:
    wait_for_the_end()


@flow
@lifespan(Asynchronous)
async def asynchronous_flow() -> None:
    mark("body")
    await asyncio.Event().wait()


@flow
@lifespan(QuickBlocking)
def openings() -> None:
    mark("body")
    threading.Event().wait()


@flow
@lifespan(Quick)
async def asynchronous_openings() -> None:
    mark("body")
    await asyncio.Event().wait()


@flow
@lifespan(Inner)
def subflow() -> None:
    wait_for_the_end()


@flow
@lifespan(Blocking)
def parent() -> None:
    subflow()


@flow
@lifespan(Blocking)
def joining() -> None:
    wait_for_the_end()


@flow
@lifespan(Blocking)
def joined() -> None:
    joining()


@task
@inject
def store(db: Handle = Provide[Blocking.db]) -> None:
    mark("task began")
    wait_for_order("finish")
    mark(f"task found db {db.state}")


@task
@inject
def queued(db: Handle = Provide[Blocking.db]) -> None:
    mark("queued task ran")


@flow
@lifespan(Blocking)
def threads() -> None:
    store.submit()
    wait_for_order("interrupt me")
    wait_for_the_end()


@flow
@lifespan(Asynchronous)
async def threads_of_an_asynchronous_flow() -> None:
    store_async.submit()
    mark("body")
    await asyncio.Event().wait()


@task
@inject
def store_async(feed: Handle = Provide[Asynchronous.feed]) -> None:
    mark("task began")
    wait_for_order("finish")
    mark(f"task found feed {feed.state}")


@flow
@lifespan(Blocking)
def waits_for_a_task() -> None:
    store.submit()
    mark("returned")


@flow
@lifespan(Blocking)
def fails_beside_a_task() -> None:
    store.submit()
    mark("raised")
    raise ValueError("of the body")


@flow
@lifespan(Asynchronous)
async def asynchronous_waits_for_a_task() -> None:
    store_async.submit()
    mark("returned")


@flow
@lifespan(Asynchronous)
async def asynchronous_fails_beside_a_task() -> None:
    store_async.submit()
    mark("raised")
    raise ValueError("of the body")


@flow
@lifespan(Stubborn)
def second() -> None:
    wait_for_the_end()


@flow
@lifespan(Slow)
async def asynchronous_second() -> None:
    mark("body")
    await asyncio.Event().wait()


@task
@inject
def booked(booking: Handle = Provide[Blocking.booking]) -> None:
    wait_for_the_end()


@flow
@lifespan(Blocking)
def in_a_task() -> None:
    booked()


@flow(timeout_seconds=1)
@lifespan(Blocking)
def late() -> None:
    wait_for_the_end()


@flow(timeout_seconds=1)
@lifespan(Asynchronous)
async def asynchronous_late() -> None:
    mark("body")
    await asyncio.Event().wait()


@task(timeout_seconds=1)
@inject
def late_task(booking: Handle = Provide[Blocking.booking]) -> None:
    wait_for_the_end()


@flow
@lifespan(Blocking)
def with_a_late_task() -> None:
    late_task()


@task(timeout_seconds=1)
@inject
def late_task_of_a_thread(booking: Handle = Provide[Blocking.booking]) -> None:
    mark("body")
    wait_for_order("nobody gives it")


@flow
@lifespan(Blocking)
def with_a_late_submitted_task() -> None:
    late_task_of_a_thread.submit().result()


def tell_the_runs_id() -> None:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    mark(f"run {context.flow_run.id}")


@flow
@lifespan(Blocking)
def pausing() -> None:
    tell_the_runs_id()
    pause_flow_run(timeout=120, poll_interval=1)
    mark("resumed")


@flow
@lifespan(Asynchronous)
async def asynchronous_pausing() -> None:
    tell_the_runs_id()
    await apause_flow_run(timeout=120, poll_interval=1)
    mark("resumed")


@task(persist_result=True)
@inject
async def keep(rows: int, feed: Handle = Provide[Asynchronous.feed]) -> int:
    mark(f"kept {rows}, feed {feed.state}")
    return rows


@flow(persist_result=True)
@lifespan(Asynchronous)
async def suspending() -> None:
    await keep(1)
    mark("suspends")
    await asuspend_flow_run(timeout=300, key="once")
    mark("goes on")


@flow(persist_result=True)
@lifespan(Asynchronous)
async def suspended_from_outside() -> None:
    await keep(1)
    mark("body")
    await await_order("go on")
    await keep(2)
    mark("goes on")


@task(timeout_seconds=1)
@inject
async def asynchronous_late_task(feed: Handle = Provide[Asynchronous.feed]) -> None:
    mark("body")
    await asyncio.Event().wait()


@flow
@lifespan(Asynchronous)
async def with_an_asynchronous_late_task() -> None:
    await asynchronous_late_task()


if __name__ == "__main__":
    run = globals()[sys.argv[1]]
    if run.isasync:
        asyncio.run(run())
    else:
        run()
