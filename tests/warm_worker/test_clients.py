"""A warm process's clients of Prefect's API: the same for all runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator

import pytest
from prefect.client import orchestration
from prefect.client.orchestration import PrefectClient, get_client

from prefect_lifespan.warm_worker.clients import Clients


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The process's event loop."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def clients(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """Closed at the end; and Prefect's own way with certificates is back."""
    monkeypatch.setattr(orchestration, "ssl", ssl)
    clients = Clients(runner)
    yield clients
    clients.close()


async def asynchronous() -> PrefectClient:
    """What an asynchronous flow has on the process's loop."""
    client = get_client()
    await client.hello()
    return client


def test_each_run_finds_the_same_open_clients(prefect_server: str, runner: asyncio.Runner, clients: Clients) -> None:
    one, other = clients.context(), clients.context()

    assert one is not other
    sync_client = one.run(get_client, sync_client=True)
    assert sync_client is other.run(get_client, sync_client=True)
    assert sync_client.hello().status_code == 200
    async_client = runner.run(asynchronous(), context=one)
    assert async_client is runner.run(asynchronous(), context=other)
    assert get_client() is not async_client
