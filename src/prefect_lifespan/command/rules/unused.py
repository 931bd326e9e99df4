"""Providers that nothing of the program asks for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from dependency_injector import providers

from prefect_lifespan.command.located import Located, of_container, tree_of
from prefect_lifespan.command.program import Program
from prefect_lifespan.graph import Finding, Graph, Node, graph_of
from prefect_lifespan.graph.cleanup import innermost
from prefect_lifespan.graph.edges import SUB_CONTAINERS, is_kind
from prefect_lifespan.graph.logging_setup import sets_up_logging
from prefect_lifespan.graph.reader import ContainerClass


def unused(program: Program) -> Iterator[Located]:
    """Those that no name in the program's own modules can mean, and that nothing needs which is used.

    Judged for containers whose flows or tasks were found as well: who asks is not known otherwise.
    """
    judged = [container for container in program.containers if is_asked(container, program)]
    names = names_in(program) if judged else set[str]()
    for container in judged:
        graph = graph_of(container)
        for node in unused_in(graph, names):
            yield of_container(_finding(graph, node), container)


def unused_in(graph: Graph, names: set[str]) -> list[Node]:
    """The providers of a container, its own and no sub-container's, that none of these names leads to."""
    own = {path: graph.nodes[key] for path, key in graph.by_path.items() if "." not in path}
    asked = [node.key for path, node in own.items() if path in names or _is_opened_for_what_it_does(node)]
    used = graph.reachable(asked)
    return [
        node for node in own.values() if node.key not in used and not is_kind(node.provider, (*SUB_CONTAINERS, *_GIVEN))
    ]


_GIVEN = (providers.Dependency, providers.Self)


def is_asked(container: ContainerClass, program: Program) -> bool:
    """Whether any flow, task or function that was found opens a container, or injects from it."""
    if any(program.opens(flow) is container for flow in program.flows):
        return True
    works = (*program.found.works, *program.found.functions)
    owners = [marker.owner for work in works for marker in program.markers_of(work).values()]
    return any(owner is not None and issubclass(container, owner) for owner in owners)


def names_in(program: Program) -> set[str]:
    """What may name a provider somewhere: attributes, texts and keywords, but for what containers say of themselves."""
    found: set[str] = set()
    declared = {container.__name__ for container in program.found.containers}
    for module in program.own_modules:
        tree = tree_of(module.__file__ or "")
        pending: list[ast.AST] = [] if tree is None else [tree]
        while pending:
            node = pending.pop()
            if isinstance(node, ast.ClassDef) and node.name in declared:
                continue
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg is not None:
                found.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.partition(".")[0])
            pending.extend(ast.iter_child_nodes(node))
    return found


def _is_opened_for_what_it_does(node: Node) -> bool:
    """Whether a resource gives nothing, by its annotation, or sets up logging: nobody asks for such a one."""
    if not node.is_resource:
        return False
    provider: Any = node.provider
    if sets_up_logging(provider.provides, provider.args, provider.kwargs) is not None:
        return True
    function = innermost(provider.provides)
    annotation = getattr(function, "__annotations__", {}).get("return", inspect.Parameter.empty)
    if annotation is None or annotation == "None":
        return True
    text = annotation if isinstance(annotation, str) else str(annotation)
    _, bracket, inside = text.partition("[")
    return bool(bracket) and inside.rstrip("]").partition(",")[0].strip() in ("None", "NoneType")


def _finding(graph: Graph, node: Node) -> Finding:
    what = "; it opens in each run all the same" if node.is_resource else ""
    return Finding(
        code="unused-provider",
        path=node.path,
        message=f"nothing asks for {graph.container}.{node.path}{what}",
        cure=(
            "take it out; or annotate its initialiser as giving None, where it is opened for what it does"
            if node.is_resource
            else "take it out"
        ),
    )
