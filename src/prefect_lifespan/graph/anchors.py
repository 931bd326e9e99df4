"""From what a marker names to the declared provider that it stands on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from dependency_injector import containers, providers

from prefect_lifespan.graph.edges import CHAINS, AnyProvider, root_of
from prefect_lifespan.graph.model import Graph
from prefect_lifespan.graph.reader import ContainerClass, graph_of


def anchor_of(provider: AnyProvider) -> AnyProvider:
    """The provider at the root of a chain: the declared one behind `.provided.x`, `.provider` and configuration options.

    The same steps as dependency-injector's ProvidersMap takes.
    """
    anchor: Any = provider
    while True:
        match anchor:
            case providers.TypedConfigurationOption():
                anchor = cast("Any", anchor).option
            case providers.ConfigurationOption():
                return root_of(anchor)
            case _ if isinstance(anchor, (*CHAINS, providers.Delegate)):
                anchor = cast("Any", anchor).provides
            case _:
                return anchor


def key_of_path(graph: Graph, path: str) -> int | None:
    """The declared provider that a string id stands on: its longest prefix that is declared."""
    while path:
        if path in graph.by_path:
            return graph.by_path[path]
        path = path.rpartition(".")[0]
    return None


def owner_of(provider: AnyProvider) -> ContainerClass | None:
    """The container class that declares a provider: the most basic one, where others inherit it."""
    anchor = anchor_of(provider)
    for container in container_classes(containers.DeclarativeContainer):
        if container.__self__ is anchor or id(anchor) in graph_of(container).nodes:
            return container
    return None


def redeclared(
    provider: AnyProvider | str, owner: ContainerClass | None, container: ContainerClass
) -> AnyProvider | None:
    """What `owner` declares as `provider`, as a container class that derives from it declares it; None elsewhere."""
    if isinstance(provider, str) or owner is None or container is owner or not issubclass(container, owner):
        return None
    anchor = anchor_of(provider)
    if anchor is cast("Any", owner).__self__:
        return cast("Any", container).__self__
    graph = graph_of(container)
    key = graph.by_path.get(graph_of(owner).nodes[id(anchor)].path)
    return None if key is None else providers.deepcopy(provider, {id(anchor): graph.nodes[key].provider})


def container_classes(base: type) -> Iterator[Any]:
    """All container classes, each before those that derive from it."""
    for container in type.__subclasses__(base):
        yield container
        yield from container_classes(container)
