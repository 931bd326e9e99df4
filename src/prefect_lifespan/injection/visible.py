"""The signature that everybody but us sees, which says of an argument for an injected parameter that it is one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
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
        self.injected = tuple(injected)

    def bind(self, /, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        """As any signature does.

        Raises:
            TypeError: with what to do, where the arguments are for an injected parameter.
        """
        try:
            return super().bind(*args, **kwargs)
        except TypeError as error:
            given = [name for name in self.injected if name in kwargs]
            if not given and "too many" not in str(error):
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
