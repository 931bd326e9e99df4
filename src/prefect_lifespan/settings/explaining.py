"""`explain`: every setting with its value and the place that it came from."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.edges import is_settings_class
from prefect_lifespan.masking import MASK, masked, sounds_secret
from prefect_lifespan.settings.errors import SettingsError
from prefect_lifespan.settings.fields import Leaf, leaves, secret_keys
from prefect_lifespan.settings.origins import Trace, noted, traced
from prefect_lifespan.settings.problems import problems_of
from prefect_lifespan.settings.sources import PrefectSecretsSettingsSource

_WIDTH = 160  # characters of a printed table, where nobody says how wide the screen is
_CREDENTIALS = re.compile(r"((?:^|[/\s])[^\s:/@]+:)[^\s/@]+@")  # of an address that is none, as a wrong value may be


@dataclass(frozen=True)
class ExplainedField:
    """One setting: its dotted path, its value as JSON has it with secrets masked, and the place that it came from."""

    path: str
    value: Any
    source: str


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; printed, it is a table. `problems` is empty where the settings can be made."""

    settings: str
    fields: tuple[ExplainedField, ...]
    problems: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data: `{"fields": [{"path", "value", "source"}]}`."""
        return {"fields": [{"path": f.path, "value": f.value, "source": f.source} for f in self.fields]}

    def __rich__(self) -> Group:
        """What rich prints: the table, and the problems under it."""
        table = Table(title=Text(self.settings), title_justify="left")
        for column in ("setting", "value", "source"):
            table.add_column(column, overflow="fold")
        for each in self.fields:
            table.add_row(Text(each.path), Text(str(each.value)), Text(each.source))
        return Group(table, *map(Text, self.problems))

    def __str__(self) -> str:
        console = Console(file=StringIO(), width=_WIDTH, color_system=None, markup=False, highlight=False)
        console.print(self.__rich__())
        return cast("StringIO", console.file).getvalue()


def explain(settings: type[BaseSettings]) -> Explanation:
    """Read settings as making them would, and tell where each value came from.

    For any class of pydantic-settings. Settings that cannot be made are explained as well, with the problems: what is
    missing has the source "missing". Where a place could not be read at all (`settings.toml` is no TOML) nothing is known
    of any field, and there are only problems. Masked are fields declared as secrets or with `repr=False`, what comes from
    Secret blocks or a secrets directory, what has the name of a secret, and passwords in addresses.

    Args:
        settings: the class.

    Returns:
        The fields, to be printed or taken as data.

    Raises:
        UsageError: it is no class of settings.

    Example:
        >>> from prefect_lifespan.settings import explain
        >>> from pydantic_settings import BaseSettings
        >>> class Settings(BaseSettings):
        ...     page_size: int = 100
        >>> explain(Settings).to_dict()
        {'fields': [{'path': 'page_size', 'value': 100, 'source': 'default'}]}
    """
    if not is_settings_class(settings):
        what = getattr(settings, "__qualname__", f"an object of {type(settings).__qualname__}")
        raise UsageError(f"explain takes a class of pydantic-settings, not {what}: explain(Settings)")
    same = _traceable(settings)
    made: BaseSettings | None = None
    problems: list[str] = []
    with traced(same) as trace:
        try:
            made = same()
        except ValidationError as error:
            problems = problems_of(error, trace)
        except SettingsError as error:
            problems = [*error.problems]
    fields = tuple(_explained(leaf, trace, made) for leaf in leaves(settings)) if trace.given else ()
    return Explanation(settings.__qualname__, fields, tuple(problems))


def _traceable(settings: type[BaseSettings]) -> type[BaseSettings]:
    """The same class of settings, whose sources are noted."""
    customise: Any = settings.settings_customise_sources

    def settings_customise_sources(cls: Any, settings_cls: type[BaseSettings], **sources: Any) -> Any:
        return noted(settings_cls, customise.__func__(cls, settings_cls, **sources))

    names: dict[str, Any] = {name: getattr(settings, name) for name in ("__module__", "__qualname__", "__doc__")}
    names["settings_customise_sources"] = classmethod(cast("Any", settings_customise_sources))
    return cast("Any", type(settings))(settings.__name__, (settings,), names)


def _explained(leaf: Leaf, trace: Trace, made: BaseSettings | None) -> ExplainedField:
    source, given = trace.won(leaf)
    value, there = (given, source is not None) if made is None else _of(made, leaf.path)
    if not there:
        if made is None and all(field.is_required() for field in leaf.fields):
            return ExplainedField(leaf.name, None, "missing")
        value = _default(leaf.field)
    return ExplainedField(leaf.name, _shown(value, leaf, source), trace.came_from(leaf))


def _default(field: FieldInfo) -> Any:
    """A field's default; none for one that is made from other fields, of which there may be none."""
    no_default = field.is_required() or field.default_factory_takes_validated_data
    return None if no_default else field.get_default(call_default_factory=True)


def _of(made: object, path: tuple[str, ...]) -> tuple[Any, bool]:
    for name in path:
        if not isinstance(made, BaseModel):  # a table that is None
            return None, True
        made = getattr(made, name)
    return made, True


def _shown(value: Any, leaf: Leaf, source: PydanticBaseSettingsSource | None) -> Any:
    from_secrets = isinstance(source, (PrefectSecretsSettingsSource, SecretsSettingsSource))
    if value is None or value == "":
        return value
    if leaf.is_secret or from_secrets or isinstance(value, (SecretStr, SecretBytes)):
        return MASK
    secret = secret_keys(leaf.field.annotation)
    if secret and isinstance(value, str):  # that should have been something with secrets in it
        return MASK
    return _masked(_as_json(value), secret)


def _as_json(value: Any) -> Any:
    """A value as plain data; bytes that are no text are told by their digits."""
    try:
        return to_jsonable_python(value, fallback=str)
    except UnicodeDecodeError:
        return to_jsonable_python(value, fallback=str, bytes_mode="hex")


def _masked(value: Any, secret: Collection[str]) -> Any:
    """JSON with what looks like a secret masked, in texts and under the names of secrets, of which some are known."""
    if isinstance(value, str):
        return _CREDENTIALS.sub(rf"\1{MASK}@", masked(value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    if isinstance(value, dict):
        return dict(_masked_items(cast("dict[str, Any]", value), secret))
    return [_masked(each, secret) for each in cast("list[Any]", value)] if isinstance(value, list) else value


def _masked_items(values: dict[str, Any], secret: Collection[str]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield name, MASK if value and (name in secret or sounds_secret(name)) else _masked(value, secret)
