"""The settings of this library, of Prefect's own kind: `[integrations.lifespan]` in prefect.toml, or the environment."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import ClassVar, Literal

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict

from prefect_lifespan.engine import library_logger

_PREFIX = "PREFECT_INTEGRATIONS_LIFESPAN_"


class LifespanSettings(PrefectBaseSettings):
    """What people see of a run, and how long what is left behind stays open.

    A variable is named `PREFECT_INTEGRATIONS_LIFESPAN_` with the field's name in capitals.
    """

    model_config: ClassVar[SettingsConfigDict] = build_settings_config(("integrations", "lifespan"))

    events: Literal["none", "failures", "all"] = Field(
        default="failures", description="Which openings and closings become events of Prefect's, for automations."
    )
    totals: bool = Field(
        default=True, description="Whether a run's log ends with a line of what opening and closing took."
    )
    report: bool = Field(default=False, description="Whether each run that opens a lifespan ends with a report of it.")
    report_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Seconds that a run waits at most for its report to be saved."
    )
    worker_idle_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Seconds that an opening stands unused in a worker process before it closes, where nobody says when.",
    )


def configured() -> LifespanSettings:
    """The settings as files and the environment have them; the defaults, and one warning, where those hold no such values."""
    return _read(tuple(os.environ.get(_PREFIX + name.upper()) for name in LifespanSettings.model_fields))


@lru_cache(maxsize=8)
def _read(_: tuple[str | None, ...]) -> LifespanSettings:
    try:
        return LifespanSettings()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        library_logger.warning("Settings of [integrations.lifespan] do not hold, and defaults stand in (%s)", wrong)
        return LifespanSettings.model_construct()
