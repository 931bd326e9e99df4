"""Which resources of a container are probed: all of them, those that are named with what they need, or all but some."""

from __future__ import annotations

from collections.abc import Iterable

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Graph, Node
from prefect_lifespan.overrides import did_you_mean


def wanted(graph: Graph, only: Iterable[str] | None) -> tuple[Node, ...]:
    """The resources that the providers of these paths need, themselves included; all of them without any.

    Raises:
        UsageError: a path that the container does not declare.
    """
    if only is None:
        return graph.resources
    return graph.needed([_key(graph, path, "only") for path in _paths(only, "only")])


def left_out(graph: Graph, skip: Iterable[str]) -> set[int]:
    """The resources of these paths, those in a sub-container among them.

    Raises:
        UsageError: a path that is none of a resource, or of a sub-container with resources.
    """
    found: set[int] = set()
    for path in _paths(skip, "skip"):
        key = _key(graph, path, "skip")
        keys = {
            node.key
            for node in graph.resources
            if node.key == key or node.path == f"{path}(override)" or node.path.startswith(f"{path}.")
        }
        if not keys:
            kind = type(graph.nodes[key].provider).__name__
            raise UsageError(
                f"skip names {graph.container}.{path}, a {kind}, which is no resource; name the resources that it needs"
            )
        found |= keys
    return found


def _key(graph: Graph, path: str, option: str) -> int:
    if path not in graph.by_path:
        raise UsageError(
            f"{option} names {path!r}, which {graph.container} does not declare{did_you_mean(path, graph)}"
        )
    return graph.by_path[path]


def _paths(paths: Iterable[str], option: str) -> list[str]:
    if isinstance(paths, str):
        raise UsageError(f"{option} is one text; give a list of paths, {option}=[{paths!r}]")
    return list(paths)
