"""Overrides: providers or plain objects that stand in for a container's own, checked by name, and how they add up."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from dependency_injector import providers

from prefect_lifespan.engine.configuration import OptionValues
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Graph, graph_of
from prefect_lifespan.graph.anchors import key_of_path
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider, is_kind, named, overriding_of, root_of
from prefect_lifespan.graph.reader import ContainerClass

Overrides = Mapping[str, object] | ContainerClass
K = TypeVar("K")
next_number: Callable[[], int] = itertools.count().__next__


class EnteredOverride:
    """Overrides of one container class, in force while its owner is entered.

    The same one in any process by its `id`; `number` tells which came later in this one.
    """

    def __init__(
        self,
        container: ContainerClass,
        overrides: Mapping[str, AnyProvider],
        owner: object = None,
        *,
        everywhere: bool = False,
    ) -> None:
        self.id: str = uuid.uuid4().hex
        self._container = container
        self.owner = owner
        self.everywhere = everywhere  # not only in the context that it was entered in
        self.number: int = next_number()
        self._by_path = overrides

    @property
    def by_path(self) -> Mapping[str, AnyProvider]:
        """The overriding providers by the path of what they override."""
        return self._by_path

    @property
    def container(self) -> ContainerClass:
        """The container class whose providers are overridden."""
        return self._container

    def by_key(self, container: ContainerClass) -> Mapping[int, AnyProvider]:
        """The overriding providers by the identity of what they override in a container that is, or derives from, ours.

        One that derives may declare a provider anew, and still reach the one that it has inherited.
        """
        graphs = dict.fromkeys((graph_of(self.container), graph_of(container)))
        return {
            graph.by_path[path]: provider
            for graph in graphs
            for path, provider in self.by_path.items()
            if path in graph.by_path
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnteredOverride) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


def overrides_of(
    container: ContainerClass, overrides: Overrides | None, by_name: Mapping[str, object]
) -> dict[str, AnyProvider]:
    """Overriding providers by dotted path, those given by keyword over the others.

    Raises:
        UsageError: a name that the container does not declare.
    """
    graph = graph_of(container)
    found = providers_for(graph, {} if overrides is None else overrides)
    return _added(found, providers_for(graph, by_name).items())


def stacked(mappings: Iterable[Mapping[int, AnyProvider]]) -> dict[int, AnyProvider]:
    """Overrides by identity, the later over the earlier ones; of a configuration's options each by itself."""
    result: dict[int, AnyProvider] = {}
    for mapping in mappings:
        _added(result, mapping.items())
    return result


def _added(result: dict[K, AnyProvider], items: Iterable[tuple[K, AnyProvider]]) -> dict[K, AnyProvider]:
    for key, provider in items:
        result[key] = provider.over(result.get(key)) if isinstance(provider, OptionValues) else provider
    return result


def providers_for(graph: Graph, overrides: Overrides) -> dict[str, AnyProvider]:
    """Overriding providers by dotted path; a plain object becomes a provider of just that object.

    Raises:
        UsageError: a name that the container does not declare, with the ones that it may have meant; no mapping, or not
            one of names; a provider that nothing can stand in for.
    """
    declared = getattr(overrides, "providers", None)
    if isinstance(overrides, type) and isinstance(declared, Mapping):
        return dict(_from_container(graph, "", cast("Any", declared), overrides))
    if not isinstance(cast("object", overrides), Mapping):
        raise UsageError(
            f"overrides of {graph.container} are a {type(overrides).__qualname__}; give a mapping of its providers' "
            "paths to what stands in for them, {'name': value}, or a container class"
        )
    found: dict[str, AnyProvider] = {}
    for path, value in cast("Mapping[object, object]", overrides).items():
        if not isinstance(path, str):
            raise UsageError(
                f"overrides of {graph.container} name {path!r}; a provider goes by its path there, {{'name': value}}"
            )
        _added(found, _overriding(graph, path, value))
    return found


def _overriding(graph: Graph, path: str, value: object) -> Iterator[tuple[str, AnyProvider]]:
    key = key_of_path(graph, path)
    overridden = None if key is None else graph.nodes[key].provider
    if path not in graph.by_path:
        if not isinstance(overridden, providers.Configuration):
            raise UsageError(f"{graph.container} has no provider {path!r} to override{did_you_mean(path, graph)}")
        yield _option(graph, path, value)
    elif is_kind(overridden, SUB_CONTAINERS):
        declared = getattr(value, "providers", None)
        if not isinstance(declared, Mapping):
            raise UsageError(
                f"{graph.container}.{path} is a sub-container: override it with a container, or one of its providers "
                f"by its dotted path, not with a {type(value).__qualname__}"
            )
        yield from _from_container(graph, f"{path}.", cast("Any", declared), value)
    elif isinstance(overridden, providers.Aggregate):
        raise UsageError(
            f"{graph.container}.{path} is a {type(overridden).__name__}: dependency-injector lets nothing stand in for "
            "such a one; override the providers that it chooses among, by the names that the container declares"
        )
    else:
        if key is not None and graph.nodes[key].lifetime is not None:
            _refuse_an_initialiser(graph, path, value)
        yield path, cast("AnyProvider", value) if providers.is_provider(value) else providers.Object(value)


def _refuse_an_initialiser(graph: Graph, path: str, value: Any) -> None:
    """Refuse a function that opens something in the place of what it opens: it would be given as it is."""
    function = value
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    if not inspect.isroutine(function):  # a mock is what is to be given, and says that it is a coroutine function
        return
    opens = (inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.iscoroutinefunction)
    if any(is_such(inspect.unwrap(function)) for is_such in opens):
        name = function.__qualname__.rpartition("<locals>.")[2]
        raise UsageError(
            f"{graph.container}.{path} is a resource, and what is to stand in for it is the function {name}, which would be "
            f"given as it is: write providers.Resource({name}), or providers.Object({name}) where that is meant"
        )


def _option(graph: Graph, path: str, value: object) -> tuple[str, AnyProvider]:
    configuration = path
    while configuration not in graph.by_path:
        configuration = configuration.rpartition(".")[0]
    _refuse_a_misspelt_option(graph, configuration, path)
    if providers.is_provider(value):
        raise UsageError(
            f"{graph.container}.{path} is an option of a configuration: override it with a value, not with a "
            f"{type(value).__name__} provider"
        )
    return configuration, OptionValues({path.removeprefix(f"{configuration}."): value})


def _refuse_a_misspelt_option(graph: Graph, configuration: str, path: str) -> None:
    """Refuse an option that nothing is known of, where one is known that is written nearly the same.

    Known are those of the default, and those that a provider of the container asks for. One that goes on where another
    ends (`url2`) is no misspelling.
    """
    root: Any = graph.nodes[graph.by_path[configuration]].provider
    known = set(_names_in(root.get_default() or {}, f"{configuration}."))
    for node in graph.nodes.values():
        if isinstance(node.provider, providers.ConfigurationOption) and root_of(node.provider) is root:
            segments = cast("Any", node.provider).get_name_segments()
            if all(isinstance(segment, str) for segment in segments):
                known.add(".".join([configuration, *segments]))
    if path in known or any(name.startswith(f"{path}.") for name in known):
        return
    section, _, option = path.rpartition(".")
    beside = [each.rpartition(".")[2] for each in known if each.rpartition(".")[0] == section]
    close = difflib.get_close_matches(option, beside, cutoff=0.6)
    meant = [f"{section}.{each}" for each in close if not each.startswith(option) and not option.startswith(each)]
    if meant:
        raise UsageError(
            f"{graph.container}.{configuration} has no option {path!r}; did you mean {' or '.join(map(repr, meant))}?"
        )


def _names_in(options: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name, value in options.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _names_in(cast("Mapping[str, object]", value), f"{prefix}{name}.")


def _from_container(
    graph: Graph, prefix: str, declared: Mapping[Any, AnyProvider], given: object
) -> Iterator[tuple[str, AnyProvider]]:
    """A container is overridden provider by provider, by those of the same names in another one, at any depth.

    What another one has inherited is no override.
    """
    paths = {name: list(_paths_of(graph, prefix, name)) for name, _ in named(declared)}
    if paths and not any(paths.values()):
        what = getattr(given, "__qualname__", type(given).__qualname__)
        raise UsageError(
            f"{what} shares no name with {graph.container}{f'.{prefix[:-1]}' if prefix else ''}, so it overrides "
            f"nothing of it; it declares {', '.join(sorted(paths))}"
        )
    for name, provider in named(declared):
        for path in paths[name]:
            if graph.nodes[graph.by_path[path]].provider is not provider:
                yield from _overriding(graph, path, provider)


def _paths_of(graph: Graph, prefix: str, name: str) -> Iterator[str]:
    """The path of what goes by a name in a container; where it has no such one, those in what it is handed on to.

    A container of dependencies knows only those that it was asked for, so one that just passes it on does not.
    """
    if prefix + name in graph.by_path:
        yield prefix + name
        return
    given = graph.by_path.get(prefix[:-1])
    for path, key in graph.by_path.items():
        each = graph.nodes[key].provider
        if is_kind(each, providers.DependenciesContainer) and given is not None and id(overriding_of(each)) == given:
            yield from _paths_of(graph, f"{path}.", name)


def did_you_mean(name: str, graph: Graph) -> str:
    """The end of a message about a name that does not exist: close ones, or all there are."""
    close = difflib.get_close_matches(name, graph.by_path, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(repr(match) for match in close)}?"
    return f"; it declares {', '.join(sorted(graph.by_path)) or 'none'}"
