"""Flows that hold connections to a real database: `python -m tests.processes.programs.connections <which>`."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, TaskResource, inject, lifespan
from tests.processes.programs.marks import mark, stubborn

URL, NAME = os.environ["DATABASE_URL"], os.environ["APPLICATION_NAME"]
INSERT = "INSERT INTO booked VALUES (1)"


def connect() -> Iterator[psycopg.Connection]:
    """A connection that commits, or rolls back, and closes."""
    with psycopg.connect(URL, application_name=NAME) as connection:
        yield connection


async def connect_on_the_loop() -> AsyncIterator[psycopg.AsyncConnection]:
    """The same on an event loop."""
    async with await psycopg.AsyncConnection.connect(URL, application_name=NAME) as connection:
        yield connection


class App(containers.DeclarativeContainer):
    # Opened first, so closed last: while it waits, the process is there and all others have closed.
    gate = providers.Resource(stubborn, "gate")
    ledger = providers.Resource(connect)
    booking = TaskResource(connect)
    asynchronous_booking = TaskResource(connect_on_the_loop)


class Asynchronous(App):
    feed = providers.Resource(connect_on_the_loop)


@task
@inject
def book(booking: psycopg.Connection = Provide[App.booking]) -> None:
    booking.execute(INSERT)
    mark("body")
    threading.Event().wait(90)


@flow
@lifespan(App)
def books(ledger: psycopg.Connection = Provide[App.ledger]) -> None:
    ledger.execute(INSERT)
    book()


@task
@inject
async def book_on_the_loop(booking: psycopg.AsyncConnection = Provide[Asynchronous.asynchronous_booking]) -> None:
    await booking.execute(INSERT)
    mark("body")
    await asyncio.Event().wait()


@flow
@lifespan(Asynchronous, eager=["gate", "feed"])
async def books_on_the_loop(feed: psycopg.AsyncConnection = Provide[Asynchronous.feed]) -> None:
    await feed.execute(INSERT)
    await book_on_the_loop()


if __name__ == "__main__":
    run: Any = globals()[sys.argv[1]]
    if run.isasync:
        asyncio.run(run())
    else:
        run()
