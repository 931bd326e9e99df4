"""Generators whose cleanup is skipped when the body fails: code behind a `yield` that nothing guards."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, cast

_GUARDS = (ast.Try, ast.TryStar, ast.With, ast.AsyncWith)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def unguarded(initialiser: Any) -> int | None:
    """The line of a generator's only `yield` where cleanup follows that a failure of the body skips; None otherwise.

    Read from its source; where there is none, nothing is said.
    """
    generator = _innermost(initialiser)
    if not (inspect.isgeneratorfunction(generator) or inspect.isasyncgenfunction(generator)):
        return None
    try:
        lines, first = inspect.getsourcelines(generator)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError):
        return None
    function = tree.body[0]
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) or len(yields := list(_yields(function))) != 1:
        return None
    return first + yields[0].lineno - 1 if _is_followed(function.body, yields[0]) else None


def _innermost(initialiser: Any) -> Any:
    """What partials stand for and contextlib has wrapped; only these are asked, others answer to any attribute."""
    while True:
        if isinstance(initialiser, functools.partial):
            initialiser = cast("functools.partial[object]", initialiser).func
        elif inspect.isfunction(initialiser) and hasattr(initialiser, "__wrapped__"):
            initialiser = cast("Any", initialiser).__wrapped__
        else:
            return initialiser


def _yields(node: ast.AST) -> Iterator[ast.Yield]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Yield):
            yield child
        if not isinstance(child, _FUNCTIONS):
            yield from _yields(child)


def _is_followed(statements: list[ast.stmt], wanted: ast.Yield) -> bool:
    """Whether statements come after the one that yields, and no guard stands between."""
    for index, statement in enumerate(statements):
        if wanted not in ast.walk(statement):
            continue
        if isinstance(statement, _GUARDS):
            return False
        inner = [getattr(statement, name, []) for name in ("body", "orelse")]
        return index + 1 < len(statements) or any(_is_followed(each, wanted) for each in inner)
    return False
