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
    CliSettingsSource,
    DotEnvSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
)
from pydantic_settings.sources import DefaultSettingsSource

from prefect_lifespan.settings.fields import Leaf, names_of
from prefect_lifespan.settings.prefect_api import PrefectApi
from prefect_lifespan.settings.profiles import ProfilesSettingsSource, shown
from prefect_lifespan.settings.sources import PrefectSecretsSettingsSource, PrefectVariablesSettingsSource

Sources = tuple[PydanticBaseSettingsSource, ...]


class Trace:
    """What each source gave while one object of settings was made, the strongest first."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        self.settings = settings
        self._sources: dict[str, PydanticBaseSettingsSource] = {}
        self._given: Mapping[str, Mapping[str, Any]] = {}

    def note(self, sources: Sources, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Sources about to be asked, and where pydantic-settings keeps, by their names, what each has given."""
        self._sources = {_name_of(source): source for source in sources}
        self._given = given

    @property
    def given(self) -> Sequence[tuple[PydanticBaseSettingsSource, Mapping[str, Any]]]:
        """The sources, and what each gave; also those that a subclass or a command line has added."""
        names = [name for name in self._given if name not in _NO_PLACES]
        return [(self._sources.get(name) or _Other(self.settings, name), self._given[name]) for name in names]

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
    """The sources, and before them one that gives nothing and notes where pydantic-settings keeps what they give."""
    trace = _trace.get()
    if trace is None or trace.settings is not settings or any(isinstance(source, _Note) for source in sources):
        return sources
    return _Note(settings, sources, trace), *sources


def _name_of(source: PydanticBaseSettingsSource) -> str:
    """The name under which pydantic-settings keeps what a source gave."""
    return getattr(source, "__name__", type(source).__name__)


class _Note(PydanticBaseSettingsSource):
    def __init__(self, settings_cls: type[BaseSettings], sources: Sources, trace: Trace) -> None:
        super().__init__(settings_cls)
        self._sources = sources
        self._trace = trace

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        self._trace.note(self._sources, self.settings_sources_data)
        return {}


class _Other(PydanticBaseSettingsSource):
    """A source that somebody else has added, known by name only."""

    def __init__(self, settings_cls: type[BaseSettings], name: str) -> None:
        super().__init__(settings_cls)
        self.name = "command line" if name == CliSettingsSource.__name__ else name

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return {}


_NO_PLACES = {_Note.__name__, DefaultSettingsSource.__name__}


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
    if isinstance(source, OwnDotEnvSource):
        return _may_hold(source.source, leaf)
    if isinstance(source, DotEnvSettingsSource):
        return source.env_file is not None
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
    if isinstance(source, _Other):
        return source.name
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
