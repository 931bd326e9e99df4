"""Which parameters of a task or flow get a value of their own from the code that names it: then its marker is not in force.

Read from the source of functions, not called. Whether such a call is reached, and whether there is another one that
leaves the marker, shows where the task is submitted, and is refused there.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import textwrap
import types
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from prefect.flows import Flow
from prefect.tasks import Task

from prefect_lifespan.lifespans.reachable import Work

# How a task or flow is called, beside by its own name.
_WAYS = frozenset({"submit", "map", "delay", "fn", "apply_async", "visualize"})
_OPTIONS = "with_options"
_UNKNOWN = object()


def given_in(functions: Iterable[Callable[..., Any]], called: Work | Callable[..., Any]) -> set[str]:
    """The parameters that some call of a task, flow or function gives, or may give, in the code of functions."""
    parameters = inspect.signature(cast("Work", called).fn if isinstance(called, (Task, Flow)) else called).parameters
    written = dict.fromkeys(map(inspect.unwrap, functions))  # whose names are those of their source
    return {name for function in written for name in _given(function, cast("object", called), list(parameters))}


def _given(function: Callable[..., Any], work: object, parameters: list[str]) -> Iterator[str]:
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # a session without source; a lambda within a statement
        yield from _named_in_constants(cast("Any", function).__code__)
        return
    namespace = _namespace(cast("types.FunctionType", function))
    for call in ast.walk(source):
        if isinstance(call, ast.Call) and (called := _called(call.func, namespace)) in (work, _UNKNOWN):
            if called is work or isinstance(call.func, ast.Name) or _way(call.func) in _WAYS:
                yield from _by_position(call, parameters)
            yield from (name for keyword in call.keywords for name in ([keyword.arg] if keyword.arg else parameters))


def _namespace(function: types.FunctionType) -> Mapping[str, object]:
    """What names stand for in a function's code, as far as that is known before it runs."""
    code = function.__code__
    closure: dict[str, object] = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not set yet
            closure[name] = cell.cell_contents
    return ChainMap(dict.fromkeys(code.co_varnames, _UNKNOWN), closure, function.__globals__, builtins.__dict__)


def _by_position(call: ast.Call, parameters: list[str]) -> list[str]:
    any_number = _way(call.func) == "apply_async" or any(isinstance(each, ast.Starred) for each in call.args)
    return parameters if any_number else parameters[: len(call.args)]


def _called(callee: ast.expr, namespace: Mapping[str, object]) -> object:
    """What an expression stands for, a way to call a task for the task; what it is only known when it runs for unknown."""
    match callee:
        case ast.Name(id=name):
            return namespace.get(name, _UNKNOWN)
        case ast.Attribute(value=value, attr=name):
            owner = _called(value, namespace)
            if isinstance(owner, (types.ModuleType, type)):
                return cast("Mapping[str, object]", vars(owner)).get(name, _UNKNOWN)
            return owner if owner is _UNKNOWN or name in _WAYS else None
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name == _OPTIONS:
            return _called(value, namespace)
        case _:
            return _UNKNOWN


def _way(callee: ast.expr) -> str:
    return callee.attr if isinstance(callee, ast.Attribute) else ""


def _named_in_constants(code: types.CodeType) -> Iterator[str]:
    """The names of keywords in compiled calls, which stand among the constants."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _named_in_constants(constant)
        elif isinstance(constant, tuple):
            yield from (name for name in cast("tuple[object, ...]", constant) if isinstance(name, str))
