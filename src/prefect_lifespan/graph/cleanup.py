"""How the generators of resources are written: cleanup that a failing body skips, and a `yield` too many.

Read from their source; where there is none, nothing is said.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, cast

_GUARDS = (ast.Try, ast.TryStar, ast.With, ast.AsyncWith)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_LEAVING = (ast.Break, ast.Return, ast.Raise)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def unguarded(initialiser: Any) -> int | None:
    """The line of a generator's only `yield` where cleanup follows that a failure of the body skips; None otherwise."""
    function, before = _read(initialiser)
    if function is None or len(yields := list(_yields(function))) != 1:
        return None
    return before + yields[0].lineno if _is_followed(function.body, yields[0]) else None


def second_yield(initialiser: Any) -> int | None:
    """The line of a `yield` that a generator comes to after it has yielded, when it is to end; None otherwise.

    Only what is certain: two in one sequence of statements, and one in a loop that nothing leaves.
    """
    function, before = _read(initialiser)
    found = None if function is None else _again(function.body)
    return None if found is None else before + found.lineno


def is_generator(initialiser: Any) -> bool:
    """Whether it is a generator function, of either kind, or contextlib has made a context manager of one."""
    function = innermost(initialiser)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _again(statements: list[ast.stmt]) -> ast.Yield | None:
    yielded = False
    for statement in statements:
        own = _own_yield(statement)
        if own is not None and yielded:
            return own
        yielded = yielded or own is not None
        if isinstance(statement, _LOOPS) and not any(isinstance(each, _LEAVING) for each in _within(statement)):
            looped = next((each for each in map(_own_yield, statement.body) if each is not None), None)
            if looped is not None:
                return looped
        for name in ("body", "orelse", "finalbody"):
            inner = _again(getattr(statement, name, [])) if not isinstance(statement, _FUNCTIONS) else None
            if inner is not None:
                return inner
    return None


def _own_yield(statement: ast.stmt) -> ast.Yield | None:
    """The `yield` that is a statement, or the value that one assigns."""
    value = statement.value if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)) else None
    return value if isinstance(value, ast.Yield) else None


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a statement, but for functions that it defines."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, _FUNCTIONS):
            yield from _within(child)


def _read(initialiser: Any) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef | None, int]:
    """The source of a generator function, read, and how many lines of its file come before it."""
    generator = innermost(initialiser)
    if not is_generator(generator):
        return None, 0
    try:
        lines, first = inspect.getsourcelines(generator)
        function = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, SyntaxError, TypeError):
        return None, 0
    return (function, first - 1) if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) else (None, 0)


def innermost(initialiser: Any) -> Any:
    """What partials stand for and contextlib has wrapped; only these are asked, others answer to any attribute."""
    while True:
        if isinstance(initialiser, functools.partial):
            initialiser = cast("functools.partial[object]", initialiser).func
        elif (inspect.isfunction(initialiser) or inspect.ismethod(initialiser)) and hasattr(initialiser, "__wrapped__"):
            initialiser = cast("Any", initialiser).__wrapped__
        else:
            return initialiser


def _yields(node: ast.AST) -> Iterator[ast.Yield]:
    return (each for each in _within(node) if isinstance(each, ast.Yield))


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
