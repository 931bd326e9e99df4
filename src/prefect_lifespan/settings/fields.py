"""The fields of a class of settings as their values are found: leaf by leaf, with the keys and names that each may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, AliasPath, BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from prefect_lifespan.masking import sounds_secret

Data = Mapping[str, Any]
SECRETS = (SecretStr, SecretBytes, Secret)


@dataclass(frozen=True)
class Leaf:
    """One value that can be set: a field that is no table of other fields, or a table that has none."""

    path: tuple[str, ...]  # names of fields
    fields: tuple[FieldInfo, ...]
    keys: tuple[tuple[str, ...], ...]  # at each level, those that it may have in what a source gives

    @property
    def name(self) -> str:
        """Its dotted path."""
        return ".".join(self.path)

    @property
    def field(self) -> FieldInfo:
        """Its own field."""
        return self.fields[-1]

    @property
    def is_secret(self) -> bool:
        """Whether what it holds is kept out of logs: by its type, by its declaration, or as its name says."""
        return is_secret(self.path[-1], self.field)

    def within(self, data: object) -> tuple[bool, Any]:
        """Whether `data` has a value for it, and that; a whole object in the place of a table has one for all in it."""
        for keys in self.keys:
            if not isinstance(data, Mapping):
                return True, None
            table = cast("Mapping[str, Any]", data)
            key = next((key for key in keys if key in table), None)
            if key is None:
                return False, None
            data = table[key]
        return True, data


def leaves(model: type[BaseModel], above: Leaf | None = None) -> Iterator[Leaf]:
    """Every leaf of a model, in the order of declaration."""
    for name, field in model.model_fields.items():
        path, fields, keys = ((), (), ()) if above is None else (above.path, above.fields, above.keys)
        leaf = Leaf((*path, name), (*fields, field), (*keys, keys_of(name, field)))
        table = table_of(field.annotation)
        if table is None or not table.model_fields or table in {table_of(f.annotation) for f in fields}:
            yield leaf
        else:
            yield from leaves(table, leaf)


def keys_of(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The keys under which a source may give a field's value: its aliases, and its name."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    heads = [choice.path[0] if isinstance(choice, AliasPath) else choice for choice in choices if choice is not None]
    return (*dict.fromkeys([*map(str, heads), name]),)


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation names, alone or beside None."""
    if get_origin(annotation) is Annotated:
        return table_of(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        others = [each for each in get_args(annotation) if each is not type(None)]
        return table_of(others[0]) if len(others) == 1 else None
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return cast("type[BaseModel]", annotation) if is_model else None


def is_secret(name: str, field: FieldInfo) -> bool:
    """Whether the value of a field is to be shown nowhere."""
    return is_any_of(field.annotation, SECRETS) or not field.repr or sounds_secret(name)


def is_any_of(annotation: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether one of `kinds` stands anywhere in an annotation."""
    arguments = (annotation, get_origin(annotation), *get_args(annotation))
    if any(isinstance(each, type) and issubclass(each, kinds) for each in arguments):
        return True
    return any(is_any_of(each, kinds) for each in get_args(annotation))


def has_names(annotation: Any) -> bool:
    """Whether a value has parts whose names no leaf tells: dictionaries, unions of models, dataclasses."""
    origin = get_origin(annotation) or annotation
    if origin is Annotated:
        return has_names(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return any(has_names(each) for each in get_args(annotation))
    return isinstance(origin, type) and (is_dataclass(origin) or issubclass(origin, (Mapping, BaseModel)))


def secret_keys(annotation: Any) -> frozenset[str]:
    """The keys under which models and dataclasses anywhere in an annotation hold secrets."""
    return frozenset(_secret_keys(annotation, set()))


def _secret_keys(annotation: Any, seen: set[Any]) -> Iterator[str]:
    for each in get_args(annotation):
        yield from _secret_keys(each, seen)
    if not isinstance(annotation, type) or annotation in seen:
        return
    seen.add(annotation)
    for keys, inner, hidden in _parts(annotation):
        if hidden or is_any_of(inner, SECRETS):
            yield from keys
        yield from _secret_keys(inner, seen)


def _parts(kind: type) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield keys_of(name, field), field.annotation, is_secret(name, field)
    elif is_dataclass(cast("Any", kind)):
        for name, inner in get_type_hints(cast("Any", kind)).items():
            yield (name,), inner, sounds_secret(name)


class _Asked(dict[str, str | None]):
    """Variables of which there are none; it notes which were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def get(self, key: str, default: Any = None, /) -> Any:
        self.names.append(key)
        return default


def names_of(source: EnvSettingsSource, leaf: Leaf) -> list[list[str]]:
    """The names of variables that may hold a leaf's value: at each depth, its table's first, its own last.

    The source itself is asked which names it looks up for a field, so prefixes, aliases and cases are its own.
    """
    names = [_asked_for(source, leaf) if leaf.fields else [leaf.path[0]]]
    if source.env_nested_delimiter:
        for keys in leaf.keys[1:]:
            spelt = keys if source.case_sensitive else dict.fromkeys(key.lower() for key in keys)
            names.append([f"{above}{source.env_nested_delimiter}{key}" for above in names[-1] for key in spelt])
    return names


def _asked_for(source: EnvSettingsSource, leaf: Leaf) -> list[str]:
    asked = _Asked()
    held, source.env_vars = source.env_vars, asked
    try:
        source.get_field_value(leaf.fields[0], leaf.path[0])
    finally:
        source.env_vars = held
    return asked.names
