"""What all tests share. The library's own tests need none of it: a server starts for the first test that asks for one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Before Prefect is imported anywhere: a person's own ~/.prefect is neither read nor written by a test.
_HOME = tempfile.TemporaryDirectory(prefix="prefect-lifespan-tests-")
os.environ["PREFECT_HOME"] = _HOME.name
os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(Path(_HOME.name) / "storage")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"  # nothing is reported to anybody
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
    os.environ.pop(name, None)


def pytest_unconfigure() -> None:
    """Removes the tests' Prefect home."""
    _HOME.cleanup()


@pytest.fixture(scope="session")
def prefect_server(prefect_harness: str) -> str:
    """One embedded Prefect server for the whole session, on loopback; its API's address. The plugin's own fixture."""
    return prefect_harness


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No APP_ variable of the person who runs the tests."""
    for variable in [key for key in os.environ if key.upper().startswith("APP_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def project(tmp_path: Path, clean_environment: None) -> Path:
    """An empty project folder."""
    return tmp_path
