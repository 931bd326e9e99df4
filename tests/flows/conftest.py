"""The application against a real Prefect server, with a warehouse and a report folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from containers.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, clean_environment: None, prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that every container of the test sees, from the environment as in real life."""
    monkeypatch.setenv("APP_WAREHOUSE__URL", f"sqlite:///{tmp_path / 'warehouse.db'}")
    monkeypatch.setenv("APP_REPORTS__FOLDER", str(tmp_path / "reports"))
    monkeypatch.setenv("APP_ORCHESTRATOR__PAGE_SIZE", "2")
    return Settings()
