"""The plugin's API of Prefect, in processes of xdist: each has one of its own, and none is left when they end."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest


def test_every_process_of_xdist_has_an_api_of_its_own_until_it_ends(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest
        from app import App, LOG
        from prefect import flow, task
        from prefect.client.orchestration import get_client
        from prefect_lifespan import Provide, inject, lifespan

        @task
        @inject
        def ask(db=Provide[App.db]): return db

        @flow
        @lifespan(App)
        def run(): return ask.submit().result()

        def test_a_flow_runs(prefect_harness, request):
            assert run() == "db"
            assert LOG == ["open db", "close db"]
            with get_client(sync_client=True) as client:
                assert [each.state.name for each in client.read_flow_runs()] == ["Completed"], "of this process"
            (request.config.rootpath / os.environ["PYTEST_XDIST_WORKER"]).write_text(prefect_harness)
        """
    )
    # Each process runs the test, side by side.
    result = pytester.runpytest_subprocess("-n", "2", "--dist=each", "-p", "no:hypothesispytest", timeout=220)
    assert result.parseoutcomes() == {"passed": 2}
    addresses = [urlsplit((pytester.path / name).read_text()) for name in ("gw0", "gw1")]
    assert addresses[0].netloc != addresses[1].netloc
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((str(address.hostname), address.port or 0), timeout=5)
