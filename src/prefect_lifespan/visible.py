"""The signature that everybody but us sees, which says of an argument for an injected parameter that it is one."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any


class VisibleSignature(inspect.Signature):
    """A signature without the injected parameters. Prefect binds by it, and shows its error to the caller."""

    __slots__ = ("injected",)

    def __init__(
        self,
        parameters: Sequence[inspect.Parameter] | None = None,
        *,
        return_annotation: Any = inspect.Signature.empty,
        injected: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(parameters, return_annotation=return_annotation, **options)
        self.injected: tuple[str, ...] = tuple(injected)

    def bind(self, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        """As any signature does.

        Raises:
            TypeError: with what to do, where the arguments are for an injected parameter.
        """
        try:
            return super().bind(*args, **kwargs)
        except TypeError as error:
            given = [name for name in self.injected if name in kwargs]
            if not given and ("too many" not in str(error) or not self.injected):
                raise
            names = ", ".join(given or self.injected)
            raise TypeError(
                f"{error}; {names} is injected: put another in its place with `override(...)` around the call, or call the "
                "function itself, `.fn(...)`, with it as a keyword"
            ) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _visible, (tuple(self.parameters.values()), self.return_annotation, self.injected)


def _visible(
    parameters: Sequence[inspect.Parameter], return_annotation: object, injected: Sequence[str]
) -> VisibleSignature:
    return VisibleSignature(parameters, return_annotation=return_annotation, injected=injected)


def without(function: Callable[..., Any], injected: Container[str]) -> VisibleSignature:
    """The signature of a function without the injected parameters, annotations evaluated where that is possible."""
    # Nobody evaluates a string in an explicit signature in the function's own module, so each is, where it can be.
    signature = inspect.signature(function)
    nonlocals = nonlocals_of(function)
    visible = [
        parameter.replace(annotation=_own(parameter.annotation, function, nonlocals))
        for name, parameter in signature.parameters.items()
        if name not in injected
    ]
    returned = _own(signature.return_annotation, function, nonlocals)
    below = signature.injected if isinstance(signature, VisibleSignature) else ()
    hidden = [*below, *(name for name in signature.parameters if name in injected)]
    return VisibleSignature(visible, return_annotation=returned, injected=hidden)


def nonlocals_of(function: Any) -> dict[str, Any]:
    """What a function's closure holds by now: a cell is empty for itself, where it is local and calls itself."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _own(annotation: object, function: Any, nonlocals: Mapping[str, object]) -> object:
    try:
        return eval(annotation, function.__globals__, dict(nonlocals)) if isinstance(annotation, str) else annotation  # noqa: S307
    except Exception:  # a name that exists for type checkers only
        return annotation
