"""Parameters that carry a marker and that nothing provides: the function would be given the marker itself.

Found by looking at functions, which are neither called nor changed. Whoever is about to call one (a lifespan, Prefect's
engine) asks here, and refuses it by name, with the cure.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast
from weakref import WeakKeyDictionary

from dependency_injector import providers, wiring

from prefect_lifespan.errors import UsageError
from prefect_lifespan.finding import Finding
from prefect_lifespan.graph.anchors import told_provider
from prefect_lifespan.graph.edges import is_kind
from prefect_lifespan.injection.markers import Function, is_default, is_marker, marker_on
from prefect_lifespan.injection.typed import Injected

Kind = Literal["task", "flow", "hook", "function"]


class Unprovided(NamedTuple):
    """One such parameter: its default value (`Parameter.empty` where the marker is in the annotation), as it is told."""

    name: str
    default: object
    told: str

    def is_left(self, parameters: Mapping[str, object]) -> bool:
        """Whether a call with these parameters gives no value of its own for it."""
        value = parameters.get(self.name, self.default)
        return value is self.default or is_marker(value)


def unprovided(function: object) -> tuple[Unprovided, ...]:
    """The parameters of a function that carry a marker, or a provider in the place of one, and that nothing provides.

    A function with `inject` or `lifespan` shows no such parameters, and one that dependency-injector has wired gets them
    from there.
    """
    function = _called(function)
    if not inspect.isfunction(function):
        return ()
    found = _KNOWN.get(function)
    if found is None:
        found = _KNOWN[function] = tuple(_carried(function))
    return found if found and not _is_wired(function) else ()


def wired_by_position(function: object) -> tuple[Unprovided, ...]:
    """The parameters that dependency-injector provides by name, and that Prefect, which does so first, gives by position."""
    function = _called(function)
    if not inspect.isfunction(function) or not _is_wired(function):
        return ()
    by_position = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD}
    return tuple(each for each in _carried(function) if each.name in by_position)


_KNOWN: WeakKeyDictionary[Function, tuple[Unprovided, ...]] = WeakKeyDictionary()


def _called(function: Any) -> Any:
    """The function behind a partial, a method, or an object that can be called."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    kind = cast("Any", type(function))
    call = None if isinstance(function, type) else getattr(kind, "__call__", None)  # noqa: B004 - the function itself
    return call if inspect.isfunction(call) else getattr(function, "__func__", function)


def _carried(function: Function) -> list[Unprovided]:
    found: list[Unprovided] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_default(parameter, providers.Provider):
            found.append(Unprovided(name, parameter.default, f"{name} = {told_provider(parameter.default)}"))
            continue
        try:
            marker = marker_on(parameter, function, place_of(function))
        except UsageError:  # a postponed annotation that cannot be evaluated: said where the function is injected
            continue
        if marker is not None:
            found.append(Unprovided(name, parameter.default, f"{name}: {told_marker(marker)}"))
        elif is_default(parameter, Injected):
            found.append(Unprovided(name, parameter.default, f"{name} = injected"))
    return found


def mistake(kind: Kind, function: Any, left: Sequence[Unprovided], of: str = "") -> Finding:
    """What is wrong with a function that would be given these; `of` names whose hook it is."""
    where = place_of(function)
    names = ", ".join(each.told for each in left)
    subject = f"the {kind} {where}{of}"
    if any(_is_stock_injected(each) for each in wrapped_by(function)):
        return Finding(
            code="stock-inject",
            path=where,
            message=f"{subject} carries dependency-injector's own @inject, which Prefect hands the marker to ({names})",
            cure="import inject from prefect_lifespan",
        )
    if all(is_kind(each.default, providers.Provider) for each in left):
        provider = told_provider(cast("Any", left[0].default))
        return Finding(
            code="provider-as-default",
            path=where,
            message=f"{subject} has a provider as its default value ({names}), and would be given the provider itself",
            cure=f"mark it, `{left[0].name}=Provide[{provider}]`, and {_PLACE[kind]}",
        )
    return Finding(
        code="forgotten-lifespan" if kind == "flow" else "forgotten-inject",
        path=where,
        message=f"{subject} carries a marker that nothing provides ({names}), and would be given the marker",
        cure=_PLACE[kind],
    )


_PLACE: Mapping[Kind, str] = {
    "task": "put @inject below @task",
    "flow": "put @lifespan(Container), or @inject, below @flow",
    "hook": "put @inject on it",
    "function": "put @inject on it",
}


def told_marker(marker: Any) -> str:
    """A marker as its user has written it."""
    if isinstance(marker, type):
        return marker.__name__
    if not hasattr(marker, "provider"):
        return type(marker).__name__
    marked = marker.provider
    inner = told_marker(marked) if is_marker(marked) else repr(marked)
    if isinstance(marked, providers.Provider):
        inner = told_provider(cast("Any", marked))
    return f"{type(marker).__name__}[{inner}]"


def place_of(function: Any) -> str:
    """A function's qualified name, with the file and the line that it is in."""
    function = _called(function)
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"
    code = getattr(inspect.unwrap(function), "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def wrapped_by(function: Any) -> list[Any]:
    """A function, and those that it wraps."""
    chain: list[Any] = []

    def keep(each: Any) -> bool:
        chain.append(each)
        return False

    last = inspect.unwrap(function, stop=keep)  # before the chain is looked at, which it fills
    return [*chain, last]


def _is_stock_injected(function: object) -> bool:
    return _patched(function) is not None


def _is_wired(function: Function) -> bool:
    """Whether dependency-injector provides what the function asks for, since a container was wired to its module."""
    return any(patched is not None and bool(patched.injections) for patched in map(_patched, wrapped_by(function)))


def _patched(function: object) -> Any:
    # Private, and the only place that knows which functions are wired, on purpose or not (pinned by a contract test).
    registry: Any = wiring._patched_registry  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    try:
        return registry.get_callable(function)
    except TypeError:  # not hashable
        return None
