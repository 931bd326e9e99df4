"""What is missing, wrong or unknown in settings, in words: each with where it was looked for or came from."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource

from prefect_lifespan.masking import masked
from prefect_lifespan.settings.fields import Leaf, keys_of, leaves, names_of, secret_keys, table_of
from prefect_lifespan.settings.origins import Trace
from prefect_lifespan.settings.profiles import did_you_mean
from prefect_lifespan.settings.sources import PrefectSecretsSettingsSource

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHORTEST = 3  # characters of a secret that is masked in a sentence


def problems_of(error: ValidationError, trace: Trace) -> list[str]:
    """Each problem that validation found, without the value of any secret."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    if error.title in {trace.settings.__name__, trace.settings.model_config.get("title")}:
        lines = dict.fromkeys(line for detail in details for line in _lines(detail, trace))
    else:  # settings of another class, which are made for a default
        lines = dict.fromkeys(f"{error.title}: {'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details)
    if trace.failure is not None and any(" is missing" in line for line in lines):
        lines[trace.failure] = None
    secrets = [*_secrets(trace)]
    return [masked(line, secrets) for line in lines]


def _lines(detail: ErrorDetails, trace: Trace) -> Iterator[str]:
    where = [str(part) for part in detail["loc"]]
    under = [leaf for leaf in leaves(trace.settings) if _is_at(leaf, where)]
    if detail["type"] == "missing" and under:
        required = [leaf for leaf in under if all(f.is_required() for f in leaf.fields[len(where) :])]
        for leaf in required or under:
            yield f"{leaf.name} is missing; looked for in {', '.join(trace.looked_in(leaf)) or 'the arguments'}"
        return
    name = ".".join(where) or "the whole"
    if detail["type"] == "extra_forbidden":
        yield f"{name} is not a setting{_known(where, trace)}{_came(where, trace)}"
        return
    origins = dict.fromkeys(trace.came_from(leaf) for leaf in under)
    text = detail["msg"].removeprefix("Value error, ")
    yield f"{name}: {text}" + (f"; from {', '.join(origins)}" if origins and where else "")


def _is_at(leaf: Leaf, where: Sequence[str]) -> bool:
    """Whether a leaf is what a place of pydantic's names, or under it, or the one that it is in."""
    return all(part in keys for part, keys in zip(where, leaf.keys, strict=False))


def _came(where: Sequence[str], trace: Trace) -> str:
    beside = next((leaf.fields for leaf in leaves(trace.settings) if _is_at(leaf, where[:1])), ())
    unknown = Leaf((*where,), beside[:1], tuple((part,) for part in where))
    return "" if trace.won(unknown)[0] is None else f"; from {trace.came_from(unknown)}"


def _known(where: Sequence[str], trace: Trace) -> str:
    """The name that was meant, or all that could have been."""
    table: type[BaseModel] = trace.settings
    for part in where[:-1]:
        found = next((f for name, f in table.model_fields.items() if part in keys_of(name, f)), None)
        inner = None if found is None else table_of(found.annotation)
        if inner is None:
            return ""
        table = inner
    prefix = str(trace.settings.model_config.get("env_prefix") or "").lower()
    name = where[-1].lower().removeprefix(prefix) if len(where) == 1 else where[-1]
    return did_you_mean(name, table.model_fields) or f"; known are {', '.join(table.model_fields)}"


def _secrets(trace: Trace) -> Iterator[str]:
    """The values of secrets among what sources gave: by their type, and all that Secret blocks hold."""
    for leaf in leaves(trace.settings):
        for source, data in trace.given:
            there, value = leaf.within(data)
            if there:
                is_secret = leaf.is_secret or isinstance(source, PrefectSecretsSettingsSource)
                texts = _texts(value, secret_keys(leaf.field.annotation), is_secret=is_secret)
                yield from (text for text in texts if len(text) >= _SHORTEST)


def _texts(value: Any, secret: Collection[str], *, is_secret: bool) -> Iterator[str]:
    """What is secret in a value, in part or as a whole."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            yield from _texts(inner, secret, is_secret=is_secret or key in secret)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in cast("Collection[Any]", value):
            yield from _texts(inner, secret, is_secret=is_secret)
    elif isinstance(value, (SecretStr, SecretBytes)) or is_secret:
        plain = value.get_secret_value() if isinstance(value, (SecretStr, SecretBytes)) else value
        yield plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain)


def unknown_variables(trace: Trace) -> Iterator[str]:
    """Environment variables that are like the name of a setting, and are none: pydantic-settings passes over them."""
    env = next((source for source, _ in trace.given if type(source) is EnvSettingsSource), None)
    if env is None or not env.env_prefix or not env.env_nested_delimiter:
        return
    tables = {name for leaf in leaves(trace.settings) for name in names_of(env, leaf)[0]}
    prefix = env.env_prefix.lower()
    own = {table.removeprefix(prefix) for table in tables}
    for variable in sorted(os.environ):
        table, delimiter, _ = variable.lower().partition(env.env_nested_delimiter.lower())
        if not delimiter or table in tables or not table.startswith(prefix):
            continue
        # Another class may have the same prefix, and names of its own: only what is nearly the same is a mistake.
        for meant in get_close_matches(table.removeprefix(prefix), own, 1, cutoff=0.85):
            yield f"environment variable {variable} is not a setting; did you mean {(prefix + meant).upper()}?"
