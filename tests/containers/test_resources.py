from __future__ import annotations

import logging
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers
from prefect.settings import PREFECT_API_URL, temporary_settings
from sqlalchemy import URL, Connection, Engine, insert, make_url, select
from sqlalchemy.exc import InvalidRequestError, ResourceClosedError

from containers.errors import OrchestratorUnavailableError, ReportFolderError, WarehouseUnavailableError, redact
from containers.resources import open_orchestrator, open_reports, open_warehouse
from containers.services.schema import watermarks
from prefect_lifespan import lifespan

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://app:{SECRET}@127.0.0.1:1/prod",
        f"postgresql+psycopg://127.0.0.1:1/prod?user=app&password={SECRET}",
        "sqlite+pysqlite:////proc/nowhere/warehouse.db",
    ],
)
def test_a_warehouse_that_does_not_answer_is_told_with_its_place_and_without_its_password(url: str) -> None:
    with pytest.raises(WarehouseUnavailableError) as caught, open_warehouse(make_url(url), 2):
        pass

    message = str(caught.value)
    assert "127.0.0.1:1/prod" in message or "/proc/nowhere/warehouse.db" in message
    assert "APP_WAREHOUSE__URL" in message
    assert SECRET not in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the driver's own error may quote the URL"


def test_an_api_that_does_not_answer_is_told_with_its_address_and_what_to_do() -> None:
    url = f"http://app:{SECRET}@127.0.0.1:1/api"
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(OrchestratorUnavailableError, match=r"http://app:\*\*\*@127\.0\.0\.1:1/api.*PREFECT_API_URL"),
        open_orchestrator(2),
    ):
        pass


def test_a_report_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file in the way")

    with pytest.raises(ReportFolderError, match="APP_REPORTS__FOLDER"):
        next(open_reports(tmp_path / "reports"))


def open_ledger(engine: Engine) -> Generator[Connection]:
    """A transaction on the warehouse that the outcome decides."""
    with engine.connect() as connection, connection.begin():
        yield connection


def container_for(url: URL) -> Any:
    class Booking(containers.DeclarativeContainer):
        warehouse = providers.Resource(open_warehouse, url=url)
        ledger = providers.Resource(open_ledger, engine=warehouse)

    return Booking


def write_entry(ledger: Connection, name: str) -> None:
    ledger.execute(insert(watermarks).values(name=name, read_until=datetime.now(UTC)))


def written(url: URL) -> list[str]:
    with open_warehouse(url) as engine, engine.connect() as connection:
        return list(connection.execute(select(watermarks.c.name)).scalars())


def test_a_ledger_commits_when_the_work_succeeds(warehouse_url: URL) -> None:
    with lifespan(container_for(warehouse_url)) as container:
        write_entry(container.ledger(), "kept")

    assert written(warehouse_url) == ["kept"]


def test_a_ledger_rolls_back_when_the_work_raises(warehouse_url: URL) -> None:
    with pytest.raises(RuntimeError, match="half-way"), lifespan(container_for(warehouse_url)) as container:
        write_entry(container.ledger(), "lost")
        raise RuntimeError("half-way")

    assert written(warehouse_url) == []


def test_the_connections_are_gone_when_the_lifespan_ends(warehouse_url: URL) -> None:
    with lifespan(container_for(warehouse_url)) as container:
        ledger, engine = container.ledger(), container.warehouse()

    assert ledger.closed
    assert engine.pool.checkedout() == 0
    with pytest.raises((InvalidRequestError, ResourceClosedError)):
        write_entry(ledger, "late")


def test_no_log_line_of_opening_and_closing_shows_the_password(caplog: pytest.LogCaptureFixture) -> None:
    url = make_url(f"postgresql+psycopg://app:{SECRET}@127.0.0.1:1/prod")
    caplog.set_level(logging.DEBUG)

    with pytest.raises(WarehouseUnavailableError), lifespan(container_for(url)):
        pass

    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://app:pa:ss@db/x failed", "at postgresql://app:***@db/x failed"),
        ("at postgresql://app:pa/s@s@db/x failed", "at postgresql://app:***@db/x failed"),
        ("host=db password=abc dbname=x", "host=db password=*** dbname=x"),
        ("GET /?token=abc&page=2", "GET /?token=***&page=2"),
        ("nothing to hide: http://db:5432/x", "nothing to hide: http://db:5432/x"),
    ],
)
def test_passwords_are_taken_out_of_texts_from_elsewhere(text: str, shown: str) -> None:
    assert redact(text) == shown
