"""What is wrong with containers, as they are declared and as flows open them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefect_lifespan.command.located import Located, of_container
from prefect_lifespan.command.program import Program
from prefect_lifespan.graph import Finding, Graph, graph_of, read
from prefect_lifespan.graph.findings import all_findings
from prefect_lifespan.graph.reader import ContainerClass

# What a function of the flow's parameters may provide.
_PROVIDED_LATER = {"undefined-dependency", "option-without-value", "required-option"}


def of_containers(program: Program) -> Iterator[Located]:
    """Everything that `check` finds, with what lifespans of the flows override."""
    for container in program.containers:
        openings = [program.lifespan_of(flow) for flow in program.flows]
        own: list[Any] = [opening for opening in openings if opening is not None and opening.container is container]
        for finding in dict.fromkeys(each for opening in own or [None] for each in _of(container, opening)):
            yield of_container(finding, container)


def _of(container: ContainerClass, opening: Any) -> Iterator[Finding]:
    overrides = None if opening is None else opening.overrides
    later = _PROVIDED_LATER if callable(overrides) else set[str]()
    graph = graph_of(container)
    if overrides and not callable(overrides):
        graph = _overridden(container, graph, overrides)
    return (finding for finding in all_findings(graph) if finding.code not in later)


def _overridden(container: ContainerClass, graph: Graph, overrides: Any) -> Graph:
    return read(
        container, {graph.by_path[path]: provider for path, provider in overrides.items() if path in graph.by_path}
    )
