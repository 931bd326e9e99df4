"""Which tasks and flows a function names: in its code, and in that of what it names of the same package.

Read, not called: globals, the closure, attributes of modules and classes, and collections, as they are at that moment.
What is looked up while it runs (`getattr`, a task that is made there or given as an argument) cannot be seen.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from prefect.flows import Flow
from prefect.tasks import Task

from prefect_lifespan.injection.plan import plan_of

Work: TypeAlias = "Task[..., Any] | Flow[..., Any]"

# Long collections are data.
_LONG = 100


def reachable(function: Callable[..., Any], *, into: Callable[[Work], bool] = lambda _: True) -> list[Work]:
    """The tasks and flows that a function names, and those that these name, each once.

    Only those `into` which one is told to look count with what they name.
    """
    return [value for value in walked(function, into=into) if isinstance(value, (Task, Flow))]


def walked(function: Callable[..., Any], *, into: Callable[[Work], bool] = lambda _: True) -> Iterator[Any]:
    """Each task, flow and function that is named, once, the function itself among them; see `reachable`."""
    package = _package_of(function)
    seen: set[int] = set()
    waiting: list[Any] = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, (Task, Flow)):
            yield value
            if into(cast("Work", value)):
                waiting.append(cast("Work", value).fn)
        elif inspect.isfunction(value):
            yield value
            waiting.append(getattr(value, "__wrapped__", None))
            if _package_of(value) == package:
                waiting.extend(_named_in(value))


def stays_in_its_lifespan(function: Callable[..., Any], *, into: Callable[[Work], bool]) -> bool:
    """Whether what a flow function names certainly runs in the lifespan that the flow opens, and in no other one.

    Not where a function names what opens one in a block, or sends tasks to a process that serves them.
    """
    for each in walked(function, into=into):
        if inspect.isfunction(each) and plan_of(each) is None:
            if any(_is_of_lifespans(value) or _is_of_lifespans(cast("object", type(value))) for value in _values(each)):
                return False
            if not _SENDING.isdisjoint(_names(each.__code__)):
                return False
    return True


_SENDING = frozenset({"delay", "apply_async", "serve"})


def _is_of_lifespans(value: object) -> bool:
    return str(getattr(value, "__module__", "")).startswith("prefect_lifespan.lifespans")


def _package_of(function: Any) -> str:
    return str(getattr(function, "__module__", None) or "").partition(".")[0]


def _named_in(function: types.FunctionType) -> Iterator[Any]:
    names = set(_names(function.__code__))
    for value in _values(function):
        yield from _of_interest(value)
        if isinstance(value, (types.ModuleType, type)):
            attributes: Mapping[str, Any] = vars(value)
            yield from (each for name in names if name in attributes for each in _of_interest(attributes[name]))


def _values(function: types.FunctionType) -> Iterator[Any]:
    """What the names of globals in a function stand for at this moment, and what its closure holds."""
    namespace: dict[str, Any] = function.__globals__
    yield from (namespace[name] for name in set(_names(function.__code__)) if name in namespace)
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not set yet
            yield cell.cell_contents


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
