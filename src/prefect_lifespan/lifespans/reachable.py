"""Which tasks and flows a function names: in its code, and in that of what it names of the same package.

Read, not called: globals, the closure, attributes of modules and classes, and collections, as they are at that moment.
What is looked up while it runs (`getattr`, a task that is made there or given as an argument) cannot be seen.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from prefect.flows import Flow
from prefect.tasks import Task

Work: TypeAlias = "Task[..., Any] | Flow[..., Any]"

# Long collections are data.
_LONG = 100


def reachable(function: Callable[..., Any]) -> list[Work]:
    """The tasks and flows that a function names, and those that these name, each once."""
    package = _package_of(function)
    found: list[Work] = []
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (Task, Flow)):
            found.append(cast("Work", value))
            waiting.append(cast("Work", value).fn)
        elif inspect.isfunction(value):
            waiting.append(getattr(value, "__wrapped__", None))
            if _package_of(value) == package:
                waiting.extend(_named_in(value))
    return found


def _package_of(function: Any) -> str:
    return str(getattr(function, "__module__", None) or "").partition(".")[0]


def _named_in(function: types.FunctionType) -> Iterator[Any]:
    names = set(_names(function.__code__))
    namespace: dict[str, Any] = function.__globals__
    values = [namespace[name] for name in names if name in namespace]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not set yet
            continue
    for value in values:
        yield from _of_interest(value)
        if isinstance(value, (types.ModuleType, type)):
            attributes: Mapping[str, Any] = vars(value)
            yield from (each for name in names if name in attributes for each in _of_interest(attributes[name]))


def _names(code: types.CodeType) -> Iterator[str]:
    """The names of globals and attributes in a function, and in the functions that it defines."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_interest(value: object) -> Iterator[Any]:
    if isinstance(value, (Task, Flow, types.FunctionType)):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset, dict)):
        items = cast("Iterable[object]", value.values() if isinstance(value, dict) else value)
        if len(cast("Any", value)) <= _LONG:
            yield from (item for item in items if isinstance(item, (Task, Flow)))
