"""The context variables that an initialiser and its closer run with.

A closer runs in the context that its initialiser ran in: what that has set is there, and can be reset. What belongs to
whoever asked for the resource first, a run and its clients, may have ended when it closes: that is as it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, TypeVar

from prefect_lifespan.in_flight import begin_what_closing_ends

T = TypeVar("T")

_MISSING = object()


class PassingVariables:
    """The variables whose values end with whoever has set them; a layer that knows some adds them."""

    def __init__(self) -> None:
        self.variables: frozenset[ContextVar[Any]] = frozenset()

    def add(self, variables: Iterable[ContextVar[Any]]) -> None:
        """Let a closer have the values that these have where it closes."""
        self.variables |= frozenset(variables)


passing: PassingVariables = PassingVariables()


class ResourceContext:
    """The context of one resource: made where it opens, of the variables that are set there."""

    _lent: Sequence[tuple[Token[Any], object]] = ()

    def __init__(self, like: ResourceContext | None = None) -> None:
        """`like` is another one that was made where nothing has been set since, and that nothing runs in."""
        if like is not None and like.nothing_passes:
            self.nothing_passes: bool = True
            self.context: Context = like.context.copy()
            return
        here = copy_context()
        # Where something is passing, one of nothing that is filled: a variable that was copied could not be unset again.
        self.nothing_passes = passing.variables.isdisjoint(here)
        self.context = here if self.nothing_passes else Context()
        self.context.run(begin_what_closing_ends) if self.nothing_passes else self.context.run(self._fill, here)

    def closing(self, close: Callable[[], T]) -> Callable[[], T]:
        """`close`, to be called in this context, with what is passing as it is here and now."""
        here = copy_context()

        def closing() -> T:
            self.renew(here)
            return close()

        return closing

    def renew(self, here: Context) -> None:
        """Called in this context: let what is passing be as it is in another one, but for what the initialiser has set."""
        lent: list[tuple[Token[Any], object]] = []
        before, self._lent = self._lent, lent
        for token, value in before:
            if token.var.get(_MISSING) is value:
                token.var.reset(token)
        for variable, value in here.items():
            if variable in passing.variables and variable.get(_MISSING) is _MISSING:
                lent.append((variable.set(value), value))

    def _fill(self, here: Context) -> None:
        variables, lent = passing.variables, list[tuple[Token[Any], object]]()
        self._lent = lent
        for variable, value in here.items():
            token = variable.set(value)
            if variable in variables:
                lent.append((token, value))
        begin_what_closing_ends()
