"""Secrets in what is about to be stored: a task that is delayed leaves its context in Prefect's result storage.

Looked for in all that would be pickled, closures and the state of settings included.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

from prefect_lifespan.masking import MASK, in_addresses, revealed, sounds_secret
from prefect_lifespan.provider_pickling.sent_classes import whole
from prefect_lifespan.signal_safe import within

_SHORTEST = 4  # characters of what goes by the name of a secret, and is one
_ANNOTATIONS = "__annotations__"


class _Search:
    """Looks at each object that a pickle is made of."""

    def __init__(self) -> None:
        self.found: str | None = None
        self._passed_over: list[object] = []  # by identity; kept, so that nothing else gets theirs

    def persistent_id(self, value: object) -> None:
        """Called by the pickler, which goes on as without it."""
        if self.found is None:
            with suppress(
                Exception
            ):  # a value may raise for whoever asks it; what comes after it is looked at all the same
                self.found = self._found_in(value)

    def _found_in(self, value: object) -> str | None:
        if isinstance(value, str):
            return "the password of an address" if {*in_addresses(value)} - {MASK} else None
        if revealed(value):
            return f"a {type(value).__qualname__}"
        if isinstance(value, dict):
            if any(value is passed for passed in self._passed_over):
                return None
            return self._found_named(cast("dict[Any, Any]", value).items())
        return self._found_named([(name, getattr(value, name, None)) for name in _fields(value)])

    def _found_named(self, items: Iterable[tuple[object, object]]) -> str | None:
        for name, value in items:
            if name == _ANNOTATIONS:
                self._passed_over.append(value)  # of a class or a function: names of types
            elif isinstance(name, str) and sounds_secret(name) and _may_be_secret(value):
                return f"what goes by the name of {name}"
        return None


def _fields(value: object) -> list[str]:
    """The names of what has no dictionary of them, as SQLAlchemy's addresses, which are named tuples."""
    kind = type(value)
    return list(getattr(kind, "_fields" if tuple in kind.__mro__ else "__dataclass_fields__", ()))


def _may_be_secret(value: object) -> bool:
    return isinstance(value, (str, bytes)) and len(value) >= _SHORTEST and value != MASK


def secret_in(value: object) -> str | None:
    """What kind of secret would be in the bytes of a pickled value; None for none, and for what cannot be pickled."""
    search = _Search()
    pickler = cast("Any", cloudpickle).Pickler(io.BytesIO())
    pickler.persistent_id = search.persistent_id
    with suppress(Exception):
        within(whole(), lambda _: pickler.dump(value))  # it does not look into bytes
    return search.found
