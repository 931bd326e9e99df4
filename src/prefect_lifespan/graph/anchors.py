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


_READ_OFF = (providers.ProvidedInstance, providers.AttributeGetter, providers.ItemGetter)


def is_read_off(provider: Any) -> bool:
    """Whether it is its anchor, or attributes and items of what that gives: it asks for nothing else."""
    anchor = anchor_of(provider)
    while provider is not anchor:
        if not isinstance(provider, _READ_OFF):
            return False
        provider = cast("Any", provider).provides
    return True


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
    graph, declared = graph_of(container), graph_of(owner).nodes.get(id(anchor))
    key = None if declared is None else graph.by_path.get(declared.path)  # not where it was replaced since
    return None if key is None else providers.deepcopy(provider, {id(anchor): graph.nodes[key].provider})


def told_provider(provider: AnyProvider) -> str:
    """A provider as its user writes it: `App.db`, `App.gateways.container.client`; its kind where no container has it."""
    owner = owner_of(provider)
    if owner is None:
        return f"a {type(provider).__name__} provider"
    anchor = anchor_of(provider)
    if cast("Any", owner).__self__ is anchor:
        return owner.__qualname__
    graph = graph_of(owner)
    return as_written(owner, graph.nodes[id(anchor)].path)


def as_written(container: ContainerClass, path: str) -> str:
    """A dotted path as an attribute of the container class: a provider of a sub-container is one of its `.container`."""
    graph = graph_of(container)
    written, so_far = container.__qualname__.rpartition("<locals>.")[2], ""
    for name in path.split("."):
        outer = graph.by_path.get(so_far)
        inside = outer is not None and isinstance(graph.nodes[outer].provider, providers.Container)
        written += f".container.{name}" if inside else f".{name}"
        so_far = f"{so_far}.{name}" if so_far else name
    return written


def copy_inside(provider: AnyProvider, owner: ContainerClass, container: ContainerClass) -> str | None:
    """The path of what stands for a provider of `owner` where `container` has that as a sub-container; None elsewhere."""
    declared = graph_of(owner).nodes.get(id(anchor_of(provider)))
    if declared is None or not declared.declared:
        return None
    paths = (f"{path}.{declared.path}" for path in copies_inside(owner, container))
    return next((path for path in paths if path in graph_of(container).by_path), None)


def copies_inside(owner: ContainerClass, container: ContainerClass) -> Iterator[str]:
    """The paths of sub-containers of `container` that are made of `owner`."""
    graph = graph_of(container)
    for path, key in graph.by_path.items():
        sub: Any = graph.nodes[key].provider
        if isinstance(sub, providers.Container) and _is_made_of(sub, owner):
            yield path


def _is_made_of(sub_container: Any, owner: ContainerClass) -> bool:
    made_of = sub_container.container.declarative_parent
    return isinstance(made_of, type) and issubclass(made_of, owner)


def container_classes(base: type) -> Iterator[Any]:
    """All container classes, each before those that derive from it."""
    derived: list[Any] = type.__subclasses__(base)
    for container in derived:
        yield container
        yield from container_classes(container)
