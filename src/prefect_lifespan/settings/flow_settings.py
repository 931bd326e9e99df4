"""`FlowSettings`: settings from where users of Prefect keep them, made once, with one error for all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import pydantic_settings
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from prefect_lifespan.settings.errors import SettingsError
from prefect_lifespan.settings.fields import keys_of
from prefect_lifespan.settings.origins import OwnDotEnvSource, noted, traced
from prefect_lifespan.settings.prefect_api import PrefectApi
from prefect_lifespan.settings.problems import problems_of, unknown_variables
from prefect_lifespan.settings.profiles import ProfilesSettingsSource
from prefect_lifespan.settings.sources import (
    TIMEOUT_SECONDS,
    PrefectSecretsSettingsSource,
    PrefectVariablesSettingsSource,
    decoded_or_itself,
)

_PROFILE = "app_profile"


class FlowSettings(BaseSettings):
    """Settings of flows, each from the strongest place that has it.

    Arguments > environment variables > `.env` > secrets directory > Prefect Secret blocks > Prefect Variables >
    `settings.toml` > defaults. Single values are replaced, not whole tables. `model_config` is pydantic-settings' own;
    what is not said there is `env_prefix="APP_"`, `env_nested_delimiter="__"`, `env_file=".env"`,
    `toml_file="settings.toml"` and `extra="forbid"`. So `warehouse.url` is the environment variable `APP_WAREHOUSE__URL`,
    the Secret block `app-warehouse--url`, the Variable `app_warehouse__url` and `[warehouse] url` in `settings.toml`.

    `settings.toml` may have profiles: `APP_PROFILE=production` (with another prefix, that one's `PROFILE` comes first)
    puts `[production]` over `[default]`.

    Everything is read when an object is made, never at import. Prefect's API is asked for what no stronger source has, by
    at most one request for Secret blocks and one for Variables (one more for a field that is a dictionary). One that
    cannot be reached is a line in the log, and an error only where a value is missing without it. It is given
    `prefect_timeout_seconds` to answer.

    Raises:
        SettingsError: for all that is missing, wrong or unknown at once, each with where it was looked for.

    Example:
        >>> from prefect_lifespan.settings import FlowSettings
        >>> class Settings(FlowSettings, env_prefix="SHOP_", toml_file="shop.toml"):
        ...     warehouse_url: str
        ...     page_size: int = 100
        >>> Settings(warehouse_url="sqlite://", page_size=50)
        Settings(warehouse_url='sqlite://', page_size=50)
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="APP_",
        env_nested_delimiter="__",
        env_file=".env",
        toml_file="settings.toml",
        extra="forbid",
        hide_input_in_errors=True,
    )
    prefect_timeout_seconds: ClassVar[float] = TIMEOUT_SECONDS

    def __init__(self, **values: Any) -> None:
        settings = type(self)
        problems: list[str] = []
        invalid: ValidationError | None = None
        with traced(settings) as trace:
            try:
                super().__init__(**values)
            except ValidationError as error:
                invalid = error
            except UnicodeDecodeError as error:
                # settings.toml tells of itself.
                file = values.get("_env_file", settings.model_config.get("env_file"))
                problems = [
                    f"{file}, or a file of a secrets directory, is no text: {error.reason} at byte {error.start}"
                ]
            except PermissionError as error:
                if error.filename is None:  # of a validator, rather than of a file
                    raise
                problems = [f"{error.filename} cannot be read: {error.strerror}; mend its permissions"]
            except pydantic_settings.SettingsError as error:
                problems = [str(error)]  # names field and source; what it could not read is in its cause
                if isinstance(error, SettingsError):
                    raise
            finally:
                trace.warn()
            problems += [] if invalid is None else problems_of(invalid, trace)
        del invalid  # it holds the values, and frames are shown
        if settings.model_config.get("extra") == "forbid":
            problems += unknown_variables(trace)
        # Raised here, outside the handlers: pydantic's error would go along as the context.
        if problems:
            raise SettingsError(settings.__qualname__, problems)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of the sources, strongest first; a subclass may add its own to what this returns."""
        env, dotenv = cast("EnvSettingsSource", env_settings), cast("DotEnvSettingsSource", dotenv_settings)
        for source in (env, dotenv):
            _tell_bad_json_later(source)
        fields = {key for name, field in settings_cls.model_fields.items() for key in keys_of(name, field)}
        choosing = [*dict.fromkeys([f"{env.env_prefix}profile".lower(), _PROFILE])]
        own_dotenv = OwnDotEnvSource(dotenv, fields, choosing) if env.config.get("extra") == "forbid" else dotenv
        api = PrefectApi(cls.prefect_timeout_seconds)
        profile, variable = next(_profiles((env, dotenv), choosing), (None, ""))
        sources = (
            *(init_settings, env_settings, own_dotenv, file_secret_settings),
            PrefectSecretsSettingsSource(settings_cls, api=api).named_as(env),
            PrefectVariablesSettingsSource(settings_cls, api=api).named_as(env),
            ProfilesSettingsSource(settings_cls, profile, variable),
        )
        return noted(settings_cls, sources)


def _tell_bad_json_later(source: EnvSettingsSource) -> None:
    """Leave a text that is no JSON to validation, which tells of it together with all other problems."""
    decode = source.decode_complex_value

    def tolerant(field_name: str, field: Any, value: Any) -> Any:
        return decoded_or_itself(decode, field_name, field, value)

    source.decode_complex_value = tolerant


def _profiles(sources: Sequence[EnvSettingsSource], choosing: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The profiles that variables name, the strongest source first, each with the variable."""
    for source in sources:
        named = {name.lower(): value for name, value in source.env_vars.items()}
        yield from ((str(named[name]), name.upper()) for name in choosing if named.get(name))
