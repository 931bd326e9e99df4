"""What the contract tests share: nothing but a Prefect API for those that run flows through the engine."""

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

# Prefect reports usage to a host on the internet unless told not to; set before the first import of prefect.
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"


@pytest.fixture(scope="session")
def contract_prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect API of this session's own, with results stored in a directory of its own.

    Drop it for the shared one of `tests/conftest.py` when that exists: no test relies on more than a running API.
    """
    from prefect import settings
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect-home")
    own: Any = {settings.PREFECT_HOME: home, settings.PREFECT_LOCAL_STORAGE_PATH: home / "storage"}
    with settings.temporary_settings(updates=own), prefect_test_harness(server_startup_timeout=180):
        server = SubprocessASGIServer._instances[None]
        assert isinstance(server, SubprocessASGIServer)
        yield server.api_url


@pytest.fixture
def garbage_collected() -> Iterator[None]:
    """Collect after the test, so that what it left behind warns under its own filters and not in the next test."""
    yield
    gc.collect()
