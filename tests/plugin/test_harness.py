"""The plugin's API of Prefect: one for a session, one for each process of xdist, and none is left when they end."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

INNER = """
import os
from app import App, LOG
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from prefect_lifespan import Provide, inject, lifespan

@task
@inject
def ask(db=Provide[App.db]): return db

@flow
@lifespan(App)
def run(): return ask.submit().result()

def test_a_flow_runs(prefect_harness, request):
    assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None, "the thread that sends them holds up the end of a run"
    assert run() == "db"
    assert LOG == ["open db", "close db"]
    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == prefect_harness.rstrip("/")
        assert [each.state.name for each in client.read_flow_runs()] == ["Completed"], "of this session"
    name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    (request.config.rootpath / name).write_text(prefect_harness)
"""
OPTIONS = ("-p", "no:hypothesispytest")


def has_ended(address: Path) -> str:
    """The host and port where an API was, after making sure that none is there any more."""
    api = urlsplit(address.read_text())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(api.hostname), api.port or 0), timeout=60)
    return api.netloc


def test_a_session_has_an_api_of_its_own_until_it_ends(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the session that this test is in
    pytester.makepyfile(INNER)

    result = pytester.runpytest_subprocess(*OPTIONS, timeout=220)

    assert result.parseoutcomes() == {"passed": 1}
    has_ended(pytester.path / "alone")


@pytest.mark.extended
def test_every_process_of_xdist_has_an_api_of_its_own_until_it_ends(pytester: pytest.Pytester):
    pytester.makepyfile(INNER)

    # Each process runs the test, side by side.
    result = pytester.runpytest_subprocess("-n", "2", "--dist=each", *OPTIONS, timeout=220)

    assert result.parseoutcomes() == {"passed": 2}
    assert has_ended(pytester.path / "gw0") != has_ended(pytester.path / "gw1")
