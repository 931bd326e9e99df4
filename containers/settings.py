"""The application's settings; where they come from, and what is said of a bad one, is `FlowSettings`' business.

A value is never part of a message, because it may be a secret.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import SettingsConfigDict
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from prefect_lifespan.settings import FlowSettings

PROJECT = Path(__file__).resolve().parent.parent

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def _known_database(url: SecretStr) -> SecretStr:
    """Refuses what is no database URL that the warehouse speaks, without ever repeating it."""
    try:
        parsed = make_url(url.get_secret_value())
        backend, host = parsed.get_backend_name(), parsed.host or ""
    except (ArgumentError, ValueError):
        backend = host = ""
    if backend not in DRIVERS:
        msg = "expected sqlite:///path/to/file.db or postgresql://user:password@host:port/database"
        raise ValueError(msg)
    if "@" in host:  # the rest of a password, which would be shown as the host's name
        msg = "an @ in the user's name or password is written %40"
        raise ValueError(msg)
    return url


class _Section(BaseModel):
    """One table of settings.toml: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WarehouseSettings(_Section):
    """The database that the history is kept in."""

    url: Annotated[SecretStr, AfterValidator(_known_database)] = SecretStr("sqlite:///data/warehouse.db")
    connect_timeout_seconds: Annotated[int, Field(ge=1, le=300)] = 10


class OrchestratorSettings(_Section):
    """How the Prefect API is read."""

    page_size: Annotated[int, Field(ge=1, le=200)] = 100
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0


class HistorySettings(_Section):
    """How the history is kept."""

    overlap_seconds: Annotated[float, Field(ge=0)] = 300.0


class ReportSettings(_Section):
    """Where reports go."""

    folder: Path = Path("reports")


class Settings(FlowSettings):
    """Everything that can be set, by section; see settings.toml for what each value means."""

    model_config = SettingsConfigDict(frozen=True, env_file=PROJECT / ".env", toml_file=PROJECT / "settings.toml")
    project: ClassVar[Path] = PROJECT  # where relative paths start

    warehouse: WarehouseSettings = WarehouseSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    history: HistorySettings = HistorySettings()
    reports: ReportSettings = ReportSettings()

    @property
    def warehouse_url(self) -> URL:
        """The warehouse's URL with its driver named and a relative SQLite file made absolute; prints without password."""
        url = make_url(self.warehouse.url.get_secret_value())
        backend = url.get_backend_name()
        url = url.set(drivername=DRIVERS[backend])
        if backend == "sqlite" and url.database and url.database != ":memory:":
            url = url.set(database=str(self.project / url.database))
        return url

    @property
    def report_folder(self) -> Path:
        """The folder that reports are written to."""
        return self.project / self.reports.folder
