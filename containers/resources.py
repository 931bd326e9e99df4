"""How the application's resources are opened and closed: one initialiser each, with its cleanup in the same place.

Each makes sure that what it hands out works, so a run with a database that is down ends before it began; what it
raises says what is wrong, where, and what to do.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from containers.errors import OrchestratorUnavailableError, ReportFolderError, WarehouseUnavailableError, redact
from containers.services.schema import create_missing_tables

SQLITE_PATIENCE_SECONDS = 30


@contextmanager
def open_warehouse(url: URL, connect_timeout_seconds: int = 10) -> Generator[Engine]:
    """An engine whose database has answered and has the tables of the history; its pool is emptied at the end.

    Args:
        url: the database; a missing SQLite file is made, with its folder.
        connect_timeout_seconds: how long PostgreSQL may take to accept a connection.

    Raises:
        WarehouseUnavailableError: when the database does not answer, without the URL's password.
    """
    engine = _make_engine(url, connect_timeout_seconds)
    try:
        _first_answer(engine, url)
        create_missing_tables(engine)
        yield engine
    finally:
        engine.dispose()


def _make_engine(url: URL, connect_timeout_seconds: int) -> Engine:
    if url.get_backend_name() != "sqlite":
        connect_args: dict[str, Any] = {"connect_timeout": connect_timeout_seconds}
        return create_engine(url, connect_args=connect_args, hide_parameters=True, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_PATIENCE_SECONDS}, hide_parameters=True)
    event.listen(engine, "connect", _speak_sqlite)
    return engine


def _speak_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Readers do not wait for the writer, and tasks that write at the same time wait for each other."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _first_answer(engine: Engine, url: URL) -> None:
    where = redact(url.render_as_string(hide_password=True))
    try:
        if url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}:
            Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        cause = redact(str(getattr(error, "orig", error)).strip().splitlines()[0])
        # `from None`: what the driver raised may quote the connection string.
        msg = (
            f"The warehouse at {where} cannot be reached: {cause}. "
            "Start the database or correct APP_WAREHOUSE__URL ([warehouse] url in settings.toml)."
        )
        raise WarehouseUnavailableError(msg) from None


@contextmanager
def open_orchestrator(timeout_seconds: float = 30.0) -> Generator[SyncPrefectClient]:
    """Prefect's own API client, which has answered once; synchronous, so any task on any thread may use it.

    Where no PREFECT_API_URL is set, Prefect starts its embedded server for this process.

    Raises:
        OrchestratorUnavailableError: when the API does not answer or refuses the key.
    """
    # Settings of our own keep this client ours: without them, `get_client` hands out the run's client, for others to close.
    with get_client(sync_client=True, httpx_settings={"timeout": timeout_seconds}) as client:
        try:
            client.read_flows(limit=1)
        except httpx.HTTPError as error:
            raise _unreachable(str(client.api_url), error) from None
        yield client


def _unreachable(api_url: str, problem: httpx.HTTPError) -> OrchestratorUnavailableError:
    refused = isinstance(problem, httpx.HTTPStatusError) and problem.response.status_code in {401, 403}
    cause = "it refuses the key" if refused else redact(str(problem).splitlines()[0] if str(problem) else repr(problem))
    return OrchestratorUnavailableError(
        f"The Prefect API at {redact(api_url)} cannot be used: {cause}. Start it (`prefect server start`), "
        "correct PREFECT_API_URL or PREFECT_API_KEY, or unset them to run with Prefect's embedded server."
    )


def open_reports(folder: Path) -> Generator[Path]:
    """The folder that reports go to, made when it is missing.

    It yields, though there is nothing to close: what a plain function returns is entered where it can be, and a path
    can be, up to Python 3.12.

    Raises:
        ReportFolderError: when the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"The report folder {folder} cannot be made: {error.strerror}. Correct APP_REPORTS__FOLDER."
        raise ReportFolderError(msg) from None
    if not os.access(folder, os.W_OK):
        msg = f"The report folder {folder} cannot be written to. Correct APP_REPORTS__FOLDER or its permissions."
        raise ReportFolderError(msg)
    yield folder
