"""Dependency-injector's markers in a function's signature: found, checked, and hidden from whoever looks at it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_origin

from dependency_injector import providers, wiring

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.anchors import key_of_path, owner_of
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.layers import did_you_mean

if TYPE_CHECKING:
    from prefect_lifespan.graph import Graph

Function: TypeAlias = Callable[..., Any]

# Classes, which dependency-injector's stubs declare as protocol instances.
_CLOSING: type = wiring.Closing  # pyright: ignore[reportAssignmentType]
_PROVIDER: type = wiring.Provider  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True, slots=True, eq=False)
class Marker:
    """One injected parameter: what it names, and how it is to be given."""

    name: str
    provider: AnyProvider | str
    modifier: wiring.Modifier | None
    as_provider: bool  # Provider[...]: the provider itself rather than its value
    closing: bool  # Closing[...]: of its own for each call, closed when that returns

    def told(self) -> str:
        """The parameter as messages show it."""
        what = repr(self.provider) if isinstance(self.provider, str) else type(self.provider).__name__
        return f"{self.name}=Provide[{what}]"


def is_marker(value: object) -> bool:
    """Whether a value is one of dependency-injector's markers, or a marker class without what it marks."""
    return getattr(value, "__IS_MARKER__", False) is True


def markers_of(function: Function) -> dict[str, Marker]:
    """The injected parameters of a function, by name, from default values and from `Annotated`.

    Raises:
        UsageError: a marker that names nothing, that cannot be read, or on a parameter that cannot be injected.
    """
    where = f"{function.__module__}.{function.__qualname__}"
    found: dict[str, Marker] = {}
    for parameter in inspect.signature(function).parameters.values():
        marked = _marker_on(parameter, function, where)
        if marked is None:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise UsageError(
                f"{where}: parameter {parameter.name!r} is positional-only, and injected parameters are given by "
                "name; move it after the `/`"
            )
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UsageError(f"{where}: a marker on {parameter} cannot be injected; give it a parameter of its own")
        found[parameter.name] = _read(parameter.name, marked, where)
    return found


def _marker_on(parameter: inspect.Parameter, function: Function, where: str) -> Any:
    if is_marker(parameter.default):
        return parameter.default
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, function, where)
    if get_origin(annotation) is Annotated:
        return next((extra for extra in get_args(annotation)[1:] if is_marker(extra)), None)
    return None


def _evaluated(annotation: str, function: Function, where: str) -> object:
    """A postponed annotation, evaluated where it may hold a marker; others are nobody's business here."""
    if "Provide" not in annotation and "Closing" not in annotation and "Annotated" not in annotation:
        return annotation
    try:
        # The function's own source, evaluated where Python would have.
        return eval(annotation, function.__globals__, inspect.getclosurevars(function).nonlocals)  # noqa: S307
    except Exception as error:
        if "Provide[" not in annotation and "Closing[" not in annotation:
            return annotation
        raise UsageError(
            f"{where}: the annotation {annotation!r} names a marker but cannot be evaluated here "
            f"({type(error).__name__}: {error}); make its names importable at run time, or write the marker as the "
            "parameter's default value"
        ) from error


def _read(name: str, marked: Any, where: str) -> Marker:
    closing = as_provider = False
    while True:
        if isinstance(marked, type):
            raise UsageError(f"{where}: {name} has a bare {marked.__name__}; say what of: {marked.__name__}[...]")
        closing = closing or isinstance(marked, _CLOSING)
        as_provider = as_provider or isinstance(marked, _PROVIDER)
        if not is_marker(marked.provider):
            break
        marked = marked.provider
    provider = marked.provider
    if not isinstance(provider, str):
        if not providers.is_provider(provider):
            raise UsageError(
                f"{where}: the marker of {name!r} names a {type(provider).__qualname__}, which is no provider; "
                "name one of a container, Provide[Container.name], or its path, Provide['name']"
            )
        if owner_of(provider) is None:
            raise UsageError(
                f"{where}: the marker of {name!r} names a {type(provider).__name__} provider that no container class "
                "declares; declare it in one, and name it there: Provide[Container.name]"
            )
    return Marker(name, provider, marked.modifier, as_provider, closing)


def check_string_ids(markers: Mapping[str, Marker], graph: Graph, where: str) -> None:
    """Refuse string ids that a container does not declare.

    Raises:
        UsageError: with the names that it may have meant.
    """
    for marker in markers.values():
        path = marker.provider
        if not isinstance(path, str) or path == wiring.ProvidersMap.CONTAINER_STRING_ID:
            continue
        if key_of_path(graph, path) is None:
            raise UsageError(
                f"{where}: {marker.name} asks for {path!r}, which {graph.container} does not declare"
                f"{did_you_mean(path, graph)}"
            )


def without(function: Function, injected: Container[str]) -> inspect.Signature:
    """The signature that everybody but us sees: without the injected parameters, annotations evaluated if possible."""
    # Nobody evaluates a string in an explicit signature in the function's own module, so each is, where it can be.
    signature = inspect.signature(function)
    nonlocals = inspect.getclosurevars(function).nonlocals
    visible = [
        parameter.replace(annotation=_own(parameter.annotation, function, nonlocals))
        for name, parameter in signature.parameters.items()
        if name not in injected
    ]
    returned = _own(signature.return_annotation, function, nonlocals)
    return signature.replace(parameters=visible, return_annotation=returned)


def _own(annotation: object, function: Function, nonlocals: Mapping[str, object]) -> object:
    try:
        return eval(annotation, function.__globals__, dict(nonlocals)) if isinstance(annotation, str) else annotation  # noqa: S307
    except Exception:  # a name that exists for type checkers only
        return annotation


def distinct_code(code: types.CodeType, function: Function) -> types.CodeType:
    """A wrapper's code, told apart from every other wrapper's and located where the function is.

    Prefect derives a task's key, and by it cache keys, from the code object, and a flow's entrypoint from its file.
    """
    own = function.__code__
    return code.replace(
        co_consts=(*code.co_consts, (function.__module__, function.__qualname__, own.co_code)),
        co_filename=own.co_filename,
        co_firstlineno=own.co_firstlineno,
        co_name=own.co_name,
        co_qualname=own.co_qualname,
    )
