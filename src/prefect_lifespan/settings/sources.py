"""Settings from Prefect's API: Variables and Secret blocks, named as environment variables are, read where needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self, cast

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from prefect_lifespan.settings.fields import Leaf, has_names, is_any_of, leaves, names_of
from prefect_lifespan.settings.prefect_api import PrefectApi, as_name

TIMEOUT_SECONDS = 10.0


class _PrefectSettingsSource(EnvSettingsSource):
    """Variables of an environment that is Prefect's API: prefix, aliases, nesting and JSON are pydantic-settings' own."""

    between: ClassVar[str]  # words of a name

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        api: PrefectApi | None = None,
    ) -> None:
        super().__init__(settings_cls, case_sensitive=False)  # names are in lower case there
        self.env_vars: dict[str, Any] = {}
        self.api: PrefectApi = api or PrefectApi(timeout_seconds)
        self._warns = api is None

    def __call__(self) -> dict[str, Any]:
        """The values of fields that no stronger source has given; the API is not asked where there are none."""
        self.env_vars = self._read()
        if self._warns:
            self.api.warn()
        return super().__call__()

    def named_as(self, env: EnvSettingsSource) -> Self:
        """Names made, and texts read, as for an environment, for which one making of settings may say it: `_env_prefix`."""
        for name, value in vars(env).items():
            if name == "maxsplit" or (name.startswith("env_") and name != "env_vars"):
                setattr(self, name, value)
        return self

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """A JSON text, decoded; what is no text is JSON already, and what is none is told by validation."""
        return decoded_or_itself(super().decode_complex_value, field_name, field, value)

    def _read(self) -> dict[str, Any]:
        wanted: dict[str, str] = {}
        for leaf in self._open_leaves():
            wanted.update({as_name(n, self.between): n for names in names_of(self, leaf) for n in names})
        beginnings = {as_name(name, self.between): name for name in self._beginnings()}
        values: dict[str, Any] = {}
        for name, value in self._ask([*wanted], [*beginnings]).items():
            known = wanted.get(name)
            if known is None:  # of a dictionary or a union, whose names are known when they are there
                begun = next((begun for begun in beginnings if name.startswith(begun)), None)
                known = None if begun is None else beginnings[begun] + name[len(begun) :].replace("-", "_")
            if known is not None and value is not None and not (value == "" and self.env_ignore_empty):
                values[known] = value
        return values

    def _ask(self, names: list[str], beginnings: list[str]) -> Mapping[str, Any]:
        raise NotImplementedError

    def _open_leaves(self) -> Iterator[Leaf]:
        for leaf in leaves(self.settings_cls):
            there, value = leaf.within(self.current_state)
            # What stronger sources have said of a dictionary or a union may be a part of it: sources are merged.
            if not there or (isinstance(value, Mapping) and has_names(leaf.field.annotation)):
                yield leaf

    def _beginnings(self) -> Iterator[str]:
        for leaf in self._open_leaves():
            if self.env_nested_delimiter and has_names(leaf.field.annotation):
                yield from (name + self.env_nested_delimiter for name in names_of(self, leaf)[-1])


class PrefectVariablesSettingsSource(_PrefectSettingsSource):
    """Settings from Prefect Variables, for a class of pydantic-settings of your own.

    A field's Variable is named as its environment variable, in lower case: `APP_WAREHOUSE__URL` is
    `app_warehouse__url`. A Variable holds JSON: one object fills a whole table (`app_warehouse`), and a more exact one
    (`app_warehouse__url`) stands over it. One that is null counts as not set.

    The API is asked when settings are made, with one request for all fields that no stronger source has given, and not
    at all where there are none. One that cannot be reached is told in the log, and gives nothing.

    Args:
        settings_cls: the class, as `settings_customise_sources` is given it.
        timeout_seconds: how long the API may take to answer.
        api: the API as it is asked for one making of settings; shared by sources of it, and whoever shares it says what
            could not be looked up (`api.warn()`).

    Example:
        >>> from pydantic_settings import BaseSettings
        >>> from prefect_lifespan.settings import PrefectVariablesSettingsSource
        >>> class Settings(BaseSettings):
        ...     page_size: int = 100
        ...     @classmethod
        ...     def settings_customise_sources(cls, settings_cls, init_settings, env_settings, **others):
        ...         return init_settings, env_settings, PrefectVariablesSettingsSource(settings_cls)
        >>> Settings(page_size=50).page_size  # an argument stands over the Variable page_size, which is not read
        50
    """

    between = "_"

    def _ask(self, names: list[str], beginnings: list[str]) -> Mapping[str, Any]:
        return self.api.variables(names, beginnings)


class PrefectSecretsSettingsSource(_PrefectSettingsSource):
    """Settings from Prefect's Secret blocks, for a class of pydantic-settings of your own.

    A field's block is named as its environment variable, in lower case with dashes: `APP_WAREHOUSE__URL` is
    `app-warehouse--url`. A field that holds one is best declared as `SecretStr`, which no log shows; the value arrives as
    that. As with Variables, one block may hold a whole table, and what is not needed is not read.

    Args:
        settings_cls: the class, as `settings_customise_sources` is given it.
        timeout_seconds: how long the API may take to answer.
        api: the API as it is asked for one making of settings; shared by sources of it, and whoever shares it says what
            could not be looked up (`api.warn()`).

    Example:
        >>> from pydantic import SecretStr
        >>> from pydantic_settings import BaseSettings
        >>> from prefect_lifespan.settings import PrefectSecretsSettingsSource
        >>> class Settings(BaseSettings):
        ...     api_key: SecretStr
        ...     @classmethod
        ...     def settings_customise_sources(cls, settings_cls, init_settings, env_settings, **others):
        ...         return init_settings, env_settings, PrefectSecretsSettingsSource(settings_cls)
        >>> Settings(api_key="k-1").api_key  # without the argument: the Secret block api-key
        SecretStr('**********')
    """

    between = "-"

    def __call__(self) -> dict[str, Any]:
        data = super().__call__()
        for leaf in leaves(self.settings_cls):
            if is_any_of(leaf.field.annotation, (SecretStr,)):
                _wrap(data, leaf)
        return data

    def _ask(self, names: list[str], beginnings: list[str]) -> Mapping[str, Any]:
        return self.api.secrets(names, beginnings)


def _wrap(data: dict[str, Any], leaf: Leaf) -> None:
    """Make the text of a secret a `SecretStr` where it stands, so that not even pydantic-settings' own log shows it."""
    table: Any = data
    for keys in leaf.keys[:-1]:
        key = next((key for key in keys if key in table), None)
        if key is None or not isinstance(table[key], dict):
            return
        table = cast("dict[str, Any]", table[key])
    for key in leaf.keys[-1]:
        if isinstance(table.get(key), str):
            table[key] = SecretStr(table[key])


def decoded_or_itself(decode: Any, field_name: str, field: FieldInfo, value: Any) -> Any:
    """A JSON text decoded by `decode`, or the text itself: validation tells what is wrong, with all other problems."""
    if not isinstance(value, str):
        return value
    try:
        return decode(field_name, field, value)
    except ValueError:
        return value
