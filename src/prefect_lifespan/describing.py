"""`describe`: what a container declares, as plain data that pictures and other programs can be made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dependency_injector import providers

from prefect_lifespan.graph import Graph, Node, graph_of
from prefect_lifespan.graph.edges import SUB_CONTAINERS, is_kind, overriding_of
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass, is_given


@dataclass(frozen=True)
class DescribedNode:
    """One provider: its dotted path, its class, and what becomes of it.

    `lifetime` says how long a resource lives ("run", "task" or "process"); it is None for what is no resource. A resource
    is `asynchronous` where its initialiser certainly is, and `overridden` where something stands in for the provider now.
    """

    path: str
    kind: str
    lifetime: Literal["run", "task", "process"] | None
    asynchronous: bool
    overridden: bool

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class DescribedEdge:
    """`source` is made with `target`; both are paths of nodes."""

    source: str
    target: str

    def as_dict(self) -> dict[str, str]:
        """The same as plain data: `{"from", "to"}`."""
        return {"from": self.source, "to": self.target}


@dataclass(frozen=True)
class Description:
    """The graph of one container: `container` is the qualified name of the class."""

    container: str
    nodes: tuple[DescribedNode, ...]
    edges: tuple[DescribedEdge, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, as JSON has it."""
        return {
            "container": self.container,
            "nodes": [node.as_dict() for node in self.nodes],
            "edges": [edge.as_dict() for edge in self.edges],
        }


def describe(container: ContainerClass) -> Description:
    """The graph of a container class as data; nothing is opened and no initialiser is called.

    Nodes are the providers that the container and its sub-containers declare by name, and resources that are written in
    place, in the order in which they can be opened. What is written in place between two of them, such as a `.provided`
    chain or an option of a configuration, is not told apart from the edge that passes through it. What a sub-container
    holds is told by its path, not by an edge.

    Args:
        container: a dependency-injector DeclarativeContainer class, with what is overridden on it now.

    Raises:
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(lambda: "a connection")
        ...     ledger = providers.Factory(dict, db=db)
        >>> for node in describe(App).nodes:
        ...     print(node.path, node.kind, node.lifetime)
        db Resource run
        ledger Factory None
        >>> describe(App).as_dict()["edges"]
        [{'from': 'ledger', 'to': 'db'}]
    """
    graph = graph_of(require_container(container))
    shown = {node.key for node in graph.nodes.values() if node.declared or node.is_resource}
    nodes = [graph.nodes[key] for key in graph.nodes if key in shown]
    return Description(
        container=graph.container,
        nodes=tuple(_described(node, container) for node in nodes),
        edges=tuple(
            DescribedEdge(node.path, graph.nodes[target].path)
            for node in nodes
            for target in _needed(node, graph, shown)
        ),
    )


def _described(node: Node, container: ContainerClass) -> DescribedNode:
    return DescribedNode(
        path=node.path,
        kind=type(node.provider).__name__,
        lifetime=None if node.lifetime is None else _LIFETIMES[node.lifetime.name],
        asynchronous=node.is_async,
        overridden=node.overridden and not _is_given(node, container),
    )


_LIFETIMES: dict[str, Literal["run", "task", "process"]] = {"TASK": "task", "RUN": "run", "PROCESS": "process"}


def _is_given(node: Node, container: ContainerClass) -> bool:
    """Whether what stands in for a dependency is what the container around gives it, as it is declared."""
    overriding = overriding_of(node.provider)
    return (
        isinstance(node.provider, providers.Dependency) and overriding is not None and is_given(container, overriding)
    )


def _needed(node: Node, graph: Graph, shown: set[int]) -> Iterator[int]:
    """What is shown of all that a provider needs, each once, as far as the next that is shown."""
    if is_kind(node.provider, SUB_CONTAINERS):
        return
    seen: set[int] = {node.key}
    pending = [edge.target for edge in reversed(node.edges)]
    while pending:
        key = pending.pop()
        if key in seen:
            continue
        seen.add(key)
        if key in shown:
            yield key
        else:
            pending.extend(edge.target for edge in reversed(graph.nodes[key].edges))
