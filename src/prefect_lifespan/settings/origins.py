"""Where each value of settings came from, and where it was looked for: what every source gave, noted as they are read."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
)

from prefect_lifespan.settings.fields import Leaf, names_of
from prefect_lifespan.settings.prefect_api import PrefectApi
from prefect_lifespan.settings.profiles import ProfilesSettingsSource, shown
from prefect_lifespan.settings.sources import PrefectSecretsSettingsSource, PrefectVariablesSettingsSource

Sources = tuple[PydanticBaseSettingsSource, ...]


class Trace:
    """What each source gave while one object of settings was made, the strongest first."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        self.settings = settings
        self.given: list[tuple[PydanticBaseSettingsSource, Mapping[str, Any]]] = []

    def won(self, leaf: Leaf) -> tuple[PydanticBaseSettingsSource | None, Any]:
        """The source whose value a leaf has, and that value; None where it has its default."""
        for source, data in self.given:
            there, value = leaf.within(data)
            if there:
                return source, value
        return None, None

    def came_from(self, leaf: Leaf) -> str:
        """Where a leaf's value came from, in words."""
        source, _ = self.won(leaf)
        return "default" if source is None else _place(source, leaf, found=True)

    def looked_in(self, leaf: Leaf) -> Sequence[str]:
        """The places where a leaf's value was looked for, in words."""
        return [_place(source, leaf, found=False) for source, _ in self.given if _may_hold(source, leaf)]

    @property
    def failure(self) -> str | None:
        """Why Prefect's API could not be asked."""
        return next((api.failure for api in self._apis if api.failure is not None), None)

    def warn(self) -> None:
        """Tell in the log, once, what could not be looked up."""
        for api in self._apis:
            api.warn()

    @property
    def _apis(self) -> Iterable[PrefectApi]:
        return dict.fromkeys(source.api for source, _ in self.given if isinstance(source, FROM_PREFECT))


FROM_PREFECT = (PrefectSecretsSettingsSource, PrefectVariablesSettingsSource)
_trace: ContextVar[Trace | None] = ContextVar("prefect_lifespan_settings_trace", default=None)


@contextmanager
def traced(settings: type[BaseSettings]) -> Generator[Trace]:
    """While an object of this very class is made, note what its sources give."""
    around = _trace.get()
    if around is not None and around.settings is settings:
        yield around
        return
    token = _trace.set(trace := Trace(settings))
    try:
        yield trace
    finally:
        _trace.reset(token)


def noted(settings: type[BaseSettings], sources: Sources) -> Sources:
    """The sources, each followed by one that gives nothing and notes what the one before it gave."""
    trace = _trace.get()
    if trace is None or trace.settings is not settings or any(isinstance(source, _Note) for source in sources):
        return sources
    return tuple(each for source in sources for each in (source, _Note(settings, source, trace)))


class _Note(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], before: PydanticBaseSettingsSource, trace: Trace) -> None:
        super().__init__(settings_cls)
        self._before = before
        self._trace = trace

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        name = getattr(self._before, "__name__", type(self._before).__name__)
        self._trace.given.append((self._before, self.settings_sources_data.get(name, {})))
        return {}


class OwnDotEnvSource(PydanticBaseSettingsSource):
    """`.env` without what is other programs' business: Prefect reads its own settings from the same file.

    What begins with the prefix of the settings is theirs: a misspelt name is found there.
    """

    def __init__(self, source: DotEnvSettingsSource, fields: set[str], profile: Sequence[str]) -> None:
        super().__init__(source.settings_cls)
        self.source = source
        self._fields = fields
        self._profile = profile

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self.source.get_field_value(field, field_name)

    def __call__(self) -> dict[str, Any]:
        prefix = self.source.env_prefix.lower()
        return {key: value for key, value in self.source().items() if key in self._fields or self._is_ours(key, prefix)}

    def _is_ours(self, key: str, prefix: str) -> bool:
        return bool(prefix) and key.lower().startswith(prefix) and key.lower() not in self._profile


def _may_hold(source: PydanticBaseSettingsSource, leaf: Leaf) -> bool:
    if isinstance(source, SecretsSettingsSource):
        return source.secrets_dir is not None and len(leaf.path) == 1
    # Arguments and tables that programs give have no place to look at.
    return not isinstance(source, InitSettingsSource) or isinstance(source, ProfilesSettingsSource)


def _place(source: PydanticBaseSettingsSource, leaf: Leaf, *, found: bool) -> str:
    """The place of a leaf's value in a source, as somebody would look it up there."""
    if isinstance(source, OwnDotEnvSource):
        return _place(source.source, leaf, found=found)
    if isinstance(source, ProfilesSettingsSource):
        return _place_in_toml(source, leaf, found=found)
    if isinstance(source, EnvSettingsSource):
        return _named(source, _name(source, leaf, found=found))
    if isinstance(source, SecretsSettingsSource):
        name = names_of(EnvSettingsSource(source.settings_cls, env_prefix=source.env_prefix), leaf)[0][0]
        return f"file {name} in {source.secrets_dir}"
    return "argument" if type(source) is InitSettingsSource else type(source).__name__


def _named(source: EnvSettingsSource, name: str) -> str:
    if isinstance(source, PrefectSecretsSettingsSource):
        return f"Secret block {name.replace('_', source.between)}"
    if isinstance(source, PrefectVariablesSettingsSource):
        return f"Variable {name}"
    name = name if source.case_sensitive else name.upper()
    if isinstance(source, DotEnvSettingsSource):
        files = cast("Any", source.env_file)
        several = cast("list[Any]", files if isinstance(files, (list, tuple)) else [files])
        return f"{name} in {' or '.join(shown(Path(file)) for file in several)}"
    return f"environment variable {name}"


def _name(source: EnvSettingsSource, leaf: Leaf, *, found: bool) -> str:
    """The name that holds the value, the most exact one first; or the one that would."""
    names = names_of(source, leaf)
    held = (name for level in reversed(names) for name in level if name in source.env_vars) if found else iter(())
    return next(held, names[-1][0])


def _place_in_toml(source: ProfilesSettingsSource, leaf: Leaf, *, found: bool) -> str:
    if found:
        layer = next((layer for layer in reversed(source.layers) if leaf.within(layer.data)[0]), None)
        return type(source).__name__ if layer is None else str(layer)
    missing = [f"{shown(file)}, which is not there" for file in source.missing]
    return f"{leaf.name} in {' or '.join([*map(str, source.layers), *missing])}"
