"""The application's settings: environment over `.env` over `settings.toml` over the defaults below.

A bad setting ends in one `SettingsError` that names every one of them, where its value came from and what to do;
a value is never part of the message, because it may be a secret.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dotenv import dotenv_values
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableSettingError
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PROJECT = Path(__file__).resolve().parent.parent
PREFIX = "APP_"
DELIMITER = "__"

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class SettingsError(ValueError):
    """The application cannot start with the settings it was given; nothing has been opened or written."""


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


class Settings(BaseSettings):
    """Everything that can be set, by section; see settings.toml for what each value means."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    project: Path = PROJECT
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


class _OwnDotEnv(DotEnvSettingsSource):
    """`.env` without what is other programs' business: Prefect reads its own settings from the same file."""

    def __call__(self) -> dict[str, Any]:
        ours = {*Settings.model_fields}
        return {key: value for key, value in super().__call__().items() if key in ours or _is_prefixed(key)}


def load_settings(folder: Path = PROJECT) -> Settings:
    """Reads the settings, with `settings.toml` and `.env` from a folder.

    Raises:
        SettingsError: for settings that are unknown, missing or out of range, all of them at once.
    """
    toml, dotenv = folder / "settings.toml", folder / ".env"

    class Located(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  replaced by _OwnDotEnv
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  not used; the signature is given
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            files = _OwnDotEnv(settings_cls, env_file=dotenv), TomlConfigSettingsSource(settings_cls, toml_file=toml)
            return init_settings, env_settings, *files

    Located.__name__ = Located.__qualname__ = Settings.__name__
    details: list[ErrorDetails] = _unknown_sections()
    try:
        settings = Located(project=folder)
        if not details:
            return settings
    except tomllib.TOMLDecodeError as error:
        msg = f"{toml} is not valid TOML: {error}. Mend the file; nothing has been opened."
        raise SettingsError(msg) from None
    except UnicodeDecodeError:
        msg = f"{toml} or {dotenv} is not UTF-8 text. Mend the file; nothing has been opened."
        raise SettingsError(msg) from None
    except UnreadableSettingError as error:  # names the section; the value is only in its cause
        msg = (
            f"A whole section cannot be read ({error}). Set its values one by one, "
            f"as {PREFIX}WAREHOUSE{DELIMITER}URL; nothing has been opened."
        )
        raise SettingsError(msg) from None
    except ValidationError as error:
        details += error.errors(include_url=False, include_context=False, include_input=False)
    # Raised here, outside the handler: the validation error holds the values, and would travel along as the context.
    lines = [_line(detail, toml, dotenv) for detail in details]
    head = f"{len(lines)} setting{'s' if len(lines) != 1 else ''} cannot be used; nothing has been opened:"
    raise SettingsError("\n".join([head, *lines]))


def _unknown_sections() -> list[ErrorDetails]:
    """Variables such as APP_WAREHOSE__URL, which pydantic-settings passes over in the environment, though not in `.env`.

    What has no delimiter is not of this kind: APP_ENV may be another program's.
    """
    names = [key for key in sorted(os.environ) if _is_prefixed(key) and DELIMITER in key]
    return [
        {"type": "extra_forbidden", "loc": (key,), "msg": "", "input": None}
        for key in names
        if key[len(PREFIX) :].partition(DELIMITER)[0].lower() not in Settings.model_fields
    ]


def _line(detail: ErrorDetails, toml: Path, dotenv: Path) -> str:
    """One finding: what is wrong, where the value came from, what to do."""
    path = [str(part) for part in detail["loc"]]
    if detail["type"] == "extra_forbidden":
        wrong, cure = "is not a setting", f"remove it or correct its name ({_known_names(path)})"
    else:
        wrong, cure = detail["msg"].removeprefix("Value error, "), "correct it there"
    name = path[0].upper() if _is_prefixed(path[0]) else ".".join(path)
    return f"  {name}: {wrong}; from {_origin(path, toml, dotenv)}: {cure}."


def _is_prefixed(key: str) -> bool:
    return key.upper().startswith(PREFIX)


def _origin(path: Sequence[str], toml: Path, dotenv: Path) -> str:
    """Where a value came from, by the same precedence as it was read."""
    whole = DELIMITER.join(path).upper()
    name = whole if _is_prefixed(whole) else PREFIX + whole
    if name in {key.upper() for key in os.environ}:
        return f"the environment variable {name}"
    if dotenv.is_file() and name in {key.upper() for key in dotenv_values(dotenv)}:
        return f"{name} in {dotenv}"
    return str(toml)


def _known_names(path: Sequence[str]) -> str:
    """The names that could have been meant: those of the section, or the sections."""
    section = Settings.model_fields.get(path[0]) if len(path) > 1 else None
    annotation = section.annotation if section else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"known in [{path[0]}]: {', '.join(annotation.model_fields)}"
    return f"known: {', '.join(name for name in Settings.model_fields if name != 'project')}"
