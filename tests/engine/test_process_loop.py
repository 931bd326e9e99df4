"""Asynchronous resources of the process, where the process has an event loop that outlives runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, inject, lifespan
from prefect_lifespan.engine import process_engines
from prefect_lifespan.engine.process_loop import process_loop

events: list[str] = []


def open_settings() -> Iterator[str]:
    events.append("open settings")
    yield "settings"
    events.append("close settings")


async def open_client(settings: str) -> AsyncIterator[str]:
    events.append(f"open client with {settings}")
    yield "client"
    events.append("close client")


async def open_db(client: str) -> AsyncIterator[str]:
    events.append(f"open db with {client}")
    yield "db"
    events.append("close db")


class App(containers.DeclarativeContainer):
    settings = ProcessResource(open_settings)
    client = ProcessResource(open_client, settings)
    db = providers.Resource(open_db, client)


@inject
async def use(client: str = Provide[App.client], db: str = Provide[App.db]) -> str:
    return f"{client} and {db}"


async def run() -> str:
    async with lifespan(App):
        return await asyncio.create_task(use())


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Runner]:
    events.clear()
    with asyncio.Runner() as runner:
        yield runner
        runner.run(process_loop.close())
    for engine in process_engines.in_use():
        process_engines.drop(engine)
        engine.close()


@pytest.fixture
def on_process_loop(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    monkeypatch.setattr(process_loop, "loop", runner.get_loop())
    return lambda: runner.run(run())


def test_they_stay_open_from_run_to_run_on_the_process_loop(
    on_process_loop: Callable[[], str], runner: asyncio.Runner
) -> None:
    assert [on_process_loop(), on_process_loop()] == ["client and db"] * 2
    runner.run(process_loop.close())

    assert [event for event in events if "client" in event] == [
        "open client with settings", "open db with client", "open db with client", "close client",
    ]  # fmt: skip
    assert events.count("open db with client") == events.count("close db") == 2
    assert events.count("open settings") == 1


def test_what_has_closed_opens_anew(on_process_loop: Callable[[], str], runner: asyncio.Runner) -> None:
    on_process_loop()
    runner.run(process_loop.close(ConnectionError("gone")))
    on_process_loop()

    assert events.count("open client with settings") == 2


def test_on_any_other_loop_they_live_as_long_as_the_run(on_process_loop: Callable[[], str]) -> None:
    asyncio.run(run())

    assert events.count("open client with settings") == events.count("close client") == 1
