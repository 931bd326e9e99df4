"""Overrides: providers or plain objects that stand in for a container's own, checked by name, and `override` itself."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Graph, graph_of
from prefect_lifespan.graph.edges import AnyProvider, children_of, named
from prefect_lifespan.graph.reader import ContainerClass


class Layer:
    """Overrides of one container class, in force while its owner is entered; the same one anywhere by its `id`."""

    def __init__(self, container: ContainerClass, overrides: Mapping[str, object], owner: object = None) -> None:
        self.id = uuid.uuid4().hex
        self._container = container
        self.owner = owner
        self._by_path = providers_for(graph_of(container), overrides)

    @property
    def by_path(self) -> Mapping[str, AnyProvider]:
        """The overriding providers by the path of what they override."""
        return self._by_path

    @property
    def container(self) -> ContainerClass:
        """The container class whose providers are overridden."""
        return self._container

    def by_key(self) -> Mapping[int, AnyProvider]:
        """The overriding providers by the identity of what they override."""
        keys = graph_of(self.container).by_path
        return {keys[path]: provider for path, provider in self.by_path.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layer) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


def providers_for(graph: Graph, overrides: Mapping[str, object]) -> dict[str, AnyProvider]:
    """Overriding providers by dotted path; a plain object becomes a provider of just that object.

    Raises:
        UsageError: a name that the container does not declare, with the ones that it may have meant; no mapping.
    """
    if not isinstance(cast("object", overrides), Mapping):
        raise UsageError(
            f"overrides of {graph.container} are a {type(overrides).__qualname__}; give a mapping of its providers' "
            "paths to what stands in for them, {'name': value}"
        )
    found: dict[str, AnyProvider] = {}
    for path, value in overrides.items():
        if path not in graph.by_path:
            raise UsageError(f"{graph.container} has no provider {path!r} to override{did_you_mean(path, graph)}")
        overridden = graph.nodes[graph.by_path[path]].provider
        if isinstance(overridden, (providers.Container, providers.DependenciesContainer)):
            found.update(_container_overrides(graph, path, overridden, value))
        else:
            found[path] = cast("AnyProvider", value) if providers.is_provider(value) else providers.Object(value)
    return found


def _container_overrides(
    graph: Graph, path: str, overridden: AnyProvider, value: object
) -> Iterator[tuple[str, AnyProvider]]:
    """A sub-container is overridden provider by provider, by those of the same names in another container."""
    declared = getattr(value, "providers", None)
    if not isinstance(declared, Mapping):
        raise UsageError(
            f"{graph.container}.{path} is a sub-container: override it with a container, or one of its providers "
            f"by its dotted path, not with a {type(value).__qualname__}"
        )
    mine = children_of(overridden)
    return ((f"{path}.{name}", provider) for name, provider in named(cast("Any", declared)) if name in mine)


def did_you_mean(name: str, graph: Graph) -> str:
    """The end of a message about a name that does not exist: close ones, or all there are."""
    close = difflib.get_close_matches(name, graph.by_path, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(repr(match) for match in close)}?"
    return f"; it declares {', '.join(sorted(graph.by_path)) or 'none'}"
