"""How the arguments of a function's visible signature become its own, wherever the injected ones stand."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from prefect_lifespan.functions import Function
from prefect_lifespan.injection.markers import is_marker
from prefect_lifespan.visible import without


class Binding:
    """Of one function."""

    def __init__(self, function: Function, injected: Collection[str]) -> None:
        parameters = inspect.signature(function).parameters.values()
        self._positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self.visible_positional: int = sum(name not in injected for name in self._positional)
        self._function = function
        self._injected = injected
        self._visible = without(function, injected)
        # With at most this many positional arguments none of them stands at or after an injected parameter.
        self._simple_up_to = next((i for i, p in enumerate(self._positional) if p in injected), len(self._positional))

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a call that the visible signature does not allow, before anything is opened for it.

        Raises:
            TypeError: as Python has it for any function.
        """
        try:
            self._visible.bind(*args, **{name: value for name, value in kwargs.items() if name not in self._injected})
        except TypeError:
            if not self._injected or len(args) <= self.visible_positional:
                # Python's own words for it, which it has before the function begins; it would count one that is too
                # many together with those that are injected.
                args, kwargs = self.arguments(args, kwargs, dict.fromkeys(self._injected))
                self._function(*args, **kwargs)
            taken = ", ".join(name for name in self._positional if name not in self._injected)
            raise TypeError(
                f"{self._function.__qualname__}() got too many positional arguments: it takes ({taken}), and "
                f"{', '.join(sorted(self._injected))} is injected"
            ) from None

    def arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the function; explicit keywords win over injected values."""
        named = {**values, **{name: value for name, value in kwargs.items() if not self._is_placeholder(name, value)}}
        if len(args) <= self._simple_up_to:
            return args, named
        given = list(args)
        positional: list[Any] = []
        for name in self._positional:
            if name in self._injected:
                positional.append(named.pop(name))
            elif given:
                positional.append(given.pop(0))
            elif name in named:
                positional.append(named.pop(name))
            else:
                break  # a default, and nothing positional follows
        return (*positional, *given), named

    def _is_placeholder(self, name: str, value: object) -> bool:
        return name in self._injected and is_marker(value)
