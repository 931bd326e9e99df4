"""Dependency-injector's markers in a function's signature: found, checked, and hidden from whoever looks at it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast, get_args, get_origin

from dependency_injector import providers, wiring

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.anchors import as_written, copy_inside, owner_of, told_provider
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.typed import Injected
from prefect_lifespan.loading import loaded
from prefect_lifespan.overrides import did_you_mean
from prefect_lifespan.visible import nonlocals_of

if TYPE_CHECKING:
    from prefect_lifespan.graph import Graph
    from prefect_lifespan.scope import Scope

Function: TypeAlias = Callable[..., Any]

# Classes, which dependency-injector's stubs declare as protocol instances.
_CLOSING: type = cast("Any", wiring.Closing)
_PROVIDER: type = cast("Any", wiring.Provider)


@dataclass(frozen=True, slots=True, eq=False)
class Marker:
    """One injected parameter: what it names, and how it is to be given."""

    name: str
    provider: AnyProvider | str
    modifier: wiring.Modifier | None
    as_provider: bool  # Provider[...]: the provider itself rather than its value
    closing: bool  # Closing[...]: of its own for each call, closed when that returns
    owner: ContainerClass | None  # the container class that declares it; None for a string id

    def __reduce__(self) -> tuple[Any, ...]:
        as_it_is = (self.name, self.provider, self.modifier, self.as_provider, self.closing)
        return Marker, (*as_it_is, sent_as(self.owner))

    def names_inside(self, container: ContainerClass) -> tuple[str, str] | None:
        """What is wrong with a marker on a container that `container` holds a copy of, which it does not mean; the cure."""
        if self.owner is None or isinstance(self.provider, str) or issubclass(container, self.owner):
            return None
        path = copy_inside(self.provider, self.owner, container)
        if path is None:
            return None
        problem = (
            f"{self.name} is marked with {told_provider(self.provider)}, and {container.__qualname__} has a copy of "
            f"{self.owner.__qualname__} of its own, which that does not mean"
        )
        return problem, f"write Provide[{as_written(container, path)}]"


def sent_as(container: ContainerClass | None) -> Any:
    """What is to be pickled in the place of a container class."""
    return loaded("prefect_lifespan.provider_pickling.sent_classes").sent_as(container)


def of_an_inner_container(marker: Marker, container: ContainerClass, scope: Scope) -> tuple[str, str] | None:
    """What is wrong with a marker on a container that the one in force holds a copy of, and the cure.

    Its user means what is open there.

    Nothing where the inner container is overridden by its own name: then that is what is meant.
    """
    if marker.owner is None or any(issubclass(marker.owner, override.container) for override in scope.overrides):
        return None
    return marker.names_inside(container)


def is_marker(value: object) -> bool:
    """Whether a value is one of dependency-injector's markers, or a marker class without what it marks."""
    # Asked of the class: a default value may answer to any attribute, or raise for one.
    kind = type(value)
    return getattr(cast("type", value) if issubclass(kind, type) else kind, "__IS_MARKER__", False) is True


def is_default(parameter: inspect.Parameter, kind: Any) -> bool:
    """Whether a parameter's default value is of a kind: one that stands in for something else may raise when asked."""
    return issubclass(type(parameter.default), kind)


def markers_of(function: Function) -> dict[str, Marker]:
    """The injected parameters of a function, by name, from default values and from `Annotated`.

    Raises:
        UsageError: a marker that names nothing, that cannot be read, or on a parameter that cannot be injected.
    """
    where = f"{function.__module__}.{function.__qualname__}"
    found: dict[str, Marker] = {}
    for parameter in inspect.signature(function).parameters.values():
        if is_default(parameter, providers.Provider):
            told = told_provider(parameter.default)
            raise UsageError(
                f"{where}: the default value of {parameter.name!r} is a provider; mark it, "
                f"{parameter.name}=Provide[{told}], or Provider[{told}] to be given the provider itself"
            )
        marked = marker_on(parameter, function, where)
        if marked is None:
            if is_marker(parameter.annotation):
                raise UsageError(
                    f"{where}: the annotation of {parameter.name!r} is a marker; write it as the default value, "
                    f"{parameter.name}=Provide[Container.name], or beside the type, Annotated[..., Provide[Container.name]]"
                )
            if is_default(parameter, Injected):
                raise UsageError(
                    f"{where}: {parameter.name!r} is `injected`, and its annotation does not say what; write "
                    f"{parameter.name}: Annotated[..., Provide[Container.name]] = injected"
                )
            if _holds_marker(_annotation_of(parameter, function, where)):
                raise UsageError(
                    f"{where}: the annotation of {parameter.name!r} has its marker inside another type, where nothing reads "
                    f"it; write {parameter.name}: Annotated[... | None, Provide[Container.name]] = injected"
                )
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


def marker_on(parameter: inspect.Parameter, function: Function, where: str) -> Any:
    """The marker that a parameter carries, as its default value or in its annotation; None where it has none.

    Raises:
        UsageError: a postponed annotation that names a marker and cannot be evaluated.
    """
    marker = _marker_in(parameter.default)
    if marker is not None:
        return marker
    annotation = _annotation_of(parameter, function, where)
    if get_origin(annotation) is Annotated:
        found = map(_marker_in, get_args(annotation)[1:])
        return next((marker for marker in found if marker is not None), None)
    return None


def _annotation_of(parameter: inspect.Parameter, function: Function, where: str) -> object:
    annotation: object = parameter.annotation
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, function, where)
    while type(annotation).__name__ == "TypeAliasType":  # `type Db = Annotated[...]`; Python 3.11 has no name for it
        annotation = cast("Any", annotation).__value__
    return annotation


def _holds_marker(annotation: object) -> bool:
    """Whether a marker stands in a type that an annotation is made of, as in `Annotated[Db, Provide[...]] | None`."""
    return any(is_marker(part) or _holds_marker(part) for part in get_args(annotation))


def _marker_in(value: object) -> object:
    """A marker, or the one that FastAPI's or FastDepends' `Depends` holds, as dependency-injector's users write it there."""
    if is_marker(value):
        return value
    for extract in wiring.MARKER_EXTRACTORS:
        with contextlib.suppress(Exception):  # a default value may raise for whatever it is asked
            held = extract(value)
            if is_marker(held):
                return held
    return None


def _evaluated(annotation: str, function: Function, where: str) -> object:
    """A postponed annotation, evaluated: it may hold a marker, or name an alias that does."""
    try:
        # The function's own source, evaluated where Python would have.
        return eval(annotation, function.__globals__, nonlocals_of(function))  # noqa: S307
    except Exception as error:
        if not any(marker in annotation for marker in ("Provide[", "Provider[", "Closing[")):
            return annotation  # a name for type checkers only, and nobody's business here
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
    owner = None
    if not isinstance(provider, str):
        if not providers.is_provider(provider):
            raise UsageError(
                f"{where}: the marker of {name!r} names a {type(provider).__qualname__}, which is no provider; "
                "name one of a container, Provide[Container.name], or its path, Provide['name']"
            )
        owner = owner_of(provider)
        if owner is None:
            raise UsageError(
                f"{where}: the marker of {name!r} names a {type(provider).__name__} provider that no container class "
                "declares; declare it in one, and name it there: Provide[Container.name]"
            )
    return Marker(name, provider, marked.modifier, as_provider, closing, owner)


def check_string_ids(markers: Mapping[str, Marker], graph: Graph, where: str) -> None:
    """Refuse string ids that a container does not declare.

    Raises:
        UsageError: with the names that it may have meant.
    """
    for problem, meant in unknown_names(markers, graph):
        raise UsageError(f"{where}: {problem}{meant}")


def unknown_names(markers: Mapping[str, Marker], graph: Graph) -> Iterator[tuple[str, str]]:
    """The string ids that a container does not declare, each with the names that it may have meant."""
    for marker in markers.values():
        path = marker.provider
        if not isinstance(path, str) or path == wiring.ProvidersMap.CONTAINER_STRING_ID:
            continue
        if not _leads_to_a_provider(graph, path):
            yield (
                f"{marker.name} asks for {path!r}, which {graph.container} does not declare",
                did_you_mean(path, graph),
            )


def _leads_to_a_provider(graph: Graph, path: str) -> bool:
    """Whether a path names a declared provider, or goes on from one to an option, a member or a `.provided` chain."""
    declared, beyond = path, list[str]()
    while declared and declared not in graph.by_path:
        declared, _, last = declared.rpartition(".")
        beyond.insert(0, last)
    if not declared:
        return False
    try:
        found: object = functools.reduce(getattr, beyond, graph.nodes[graph.by_path[declared]].provider)
    except AttributeError:
        return False
    return providers.is_provider(found)
