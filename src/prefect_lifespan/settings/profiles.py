"""`settings.toml`: one set of values, or several by profile, of which one stands over `[default]`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Any, cast

from pydantic_settings import BaseSettings, InitSettingsSource, TomlConfigSettingsSource

from prefect_lifespan.settings.errors import SettingsError
from prefect_lifespan.settings.fields import keys_of

DEFAULT = "default"


@dataclass(frozen=True)
class Layer:
    """The values of one profile in one file; `profile` is None where the file has none."""

    file: Path
    profile: str | None
    data: Mapping[str, Any]

    def __str__(self) -> str:
        return shown(self.file) if self.profile is None else f"{shown(self.file)} [{self.profile}]"


class ProfilesSettingsSource(TomlConfigSettingsSource):
    """The files of `toml_file`, later ones over earlier ones, and in each the chosen profile over `[default]`.

    A file has profiles where it has a table `[default]`, or one that is named as the chosen profile; then everything in
    it stands in one. `variable` is the environment variable that chooses.
    """

    def __init__(self, settings_cls: type[BaseSettings], profile: str | None, variable: str) -> None:
        super().__init__(settings_cls, toml_file=None)
        self.layers: list[Layer] = []  # the strongest last
        self.missing: list[Path] = []
        self._fields = {key for name, field in settings_cls.model_fields.items() for key in keys_of(name, field)}
        self._profiles: set[str] = set()
        files = _listed(settings_cls.model_config.get("toml_file"))
        for file in files:
            self._add(file, profile)
        if profile not in {None, "", DEFAULT} and profile not in self._profiles and files:
            raise SettingsError(settings_cls.__qualname__, [self._unknown(str(profile), variable)])
        merged: dict[str, Any] = {}
        for layer in self.layers:
            merged = _over(merged, layer.data)
        InitSettingsSource.__init__(self, settings_cls, merged)

    def _add(self, file: Path, profile: str | None) -> None:
        if not file.exists():
            self.missing.append(file)
            return
        if file.is_dir():
            raise SettingsError(self.settings_cls.__qualname__, [f"{file} is a folder; give a file, or none"])
        try:
            data = TomlConfigSettingsSource(self.settings_cls, toml_file=file).toml_data
        except (TOMLDecodeError, UnicodeDecodeError) as error:
            problem = f"{file} is not valid TOML: {error}; mend the file"
            raise SettingsError(self.settings_cls.__qualname__, [problem]) from None
        except KeyError as error:  # of `toml_table_header`
            raise SettingsError(self.settings_cls.__qualname__, [str(error.args[0])]) from None
        except OSError as error:
            problem = f"{file} cannot be read: {error.strerror}; mend the file or its permissions"
            raise SettingsError(self.settings_cls.__qualname__, [problem]) from None
        tables = {name for name, value in data.items() if isinstance(value, dict)} - self._fields
        if DEFAULT not in tables and profile not in tables:
            self.layers.append(Layer(file, None, data))
            return
        outside = [name for name in data if name not in tables]
        if outside:
            problem = f"{outside[0]} in {file} stands in no profile, and the file has some: move it into [{DEFAULT}]"
            raise SettingsError(self.settings_cls.__qualname__, [problem])
        self._profiles |= tables
        chosen = dict.fromkeys([DEFAULT, profile or DEFAULT])
        self.layers += [Layer(file, name, data[name]) for name in chosen if name in tables]

    def _unknown(self, profile: str, variable: str) -> str:
        cure = f"the profiles are {', '.join(sorted(self._profiles))}{did_you_mean(profile, self._profiles)}"
        if not self._profiles and self.layers:
            cure = f"{self.layers[0].file} has no profiles: write [{DEFAULT}] and [{profile}] above its tables"
        elif not self._profiles:
            cure = f"there is no {self.missing[0].absolute()}"
        return f"{variable} chooses the profile {profile!r}, which is not there; {cure}"


def shown(file: Path) -> str:
    """A file as somebody in the working directory would name it."""
    here = Path.cwd()
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question after a name that does not exist, where one is much like it."""
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _listed(files: Any) -> list[Path]:
    if files is None:
        return []
    several = cast("Sequence[Any]", files if isinstance(files, Sequence) and not isinstance(files, str) else [files])
    return [Path(file).expanduser() for file in several]


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged, single values replaced."""

    def merged() -> Iterator[tuple[str, Any]]:
        for key, value in above.items():
            both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
            yield key, _over(below[key], cast("Mapping[str, Any]", value)) if both else value

    return {**below, **dict(merged())}
