"""Real databases for the warehouse: SQLite always, PostgreSQL where one can be started without root or packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from containers.resources import open_warehouse


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Each of the two databases, empty."""
    if request.param == "sqlite":
        return URL.create("sqlite+pysqlite", database=str(tmp_path / "data" / "warehouse.db"))
    url: URL = request.getfixturevalue("postgres_url")
    with open_warehouse(url) as engine, engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return url


@pytest.fixture
def warehouse(warehouse_url: URL) -> Iterator[Engine]:
    """The open warehouse on each of the two."""
    with open_warehouse(warehouse_url) as engine:
        yield engine
