"""A record of what opens and closes, for all tests here, and a Prefect API for the few that run flows."""

import os
import tempfile
from collections.abc import Iterator

import pytest

# Before the first import of prefect: no person's own profile is read, and nobody on the internet is told.
_HOME = tempfile.TemporaryDirectory(prefix="prefect-lifespan-injection-")
os.environ.setdefault("PREFECT_HOME", _HOME.name)
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect API of this session's own; drop it for the shared one of `tests/conftest.py` where that exists."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def log() -> list[str]:
    """What happened, in order."""
    return []
