"""Programs that run flows in processes of their own, against one Prefect API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from tests.processes.running import ROOT, Programs, Zygote


@pytest.fixture(scope="session")
def zygote(prefect_server: str) -> Iterator[Zygote]:
    """What programs are forked from."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("APP_")},
        "PWD": str(ROOT),
        "PREFECT_API_URL": prefect_server,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with Zygote.running(environment) as zygote:
        yield zygote


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    """A client of that API."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def programs(zygote: Zygote, tmp_path: Path) -> Iterator[Programs]:
    """Starts programs, and ends those that a failed test leaves behind."""
    programs = Programs(zygote, tmp_path)
    yield programs
    for program in programs.started:
        program.kill()
