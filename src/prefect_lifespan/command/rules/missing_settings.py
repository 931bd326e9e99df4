"""Settings of containers that cannot be made here: a value is missing, or wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefect_lifespan.command.located import Located, of_container
from prefect_lifespan.command.program import Program
from prefect_lifespan.graph import Code, Finding, Graph, Node, graph_of
from prefect_lifespan.graph.edges import makes_settings
from prefect_lifespan.masking import summary_of


def missing_settings(program: Program) -> Iterator[Located]:
    """What the environment and files of this machine lack, or say wrong. Prefect's API is not asked."""
    for container in program.containers:
        graph = graph_of(container)
        for node in settings_in(graph):
            yield from (of_container(finding, container) for finding in _of(graph, node))


def settings_in(graph: Graph) -> Iterator[Node]:
    """The singletons of settings that a container makes by itself: without arguments, and not overridden."""
    for node in graph.nodes.values():
        provider: Any = node.provider
        if makes_settings(provider) and not node.overridden and not provider.args and not provider.kwargs:
            yield node


def _of(graph: Graph, node: Node) -> Iterator[Finding]:
    from prefect_lifespan.settings import explain  # noqa: PLC0415 - pydantic-settings, where something has settings
    from prefect_lifespan.settings.prefect_api import may_be_asked  # noqa: PLC0415

    settings: Any = node.provider
    token = may_be_asked.set(False)
    try:
        problems = explain(settings.provides).problems
    except Exception as error:  # of the class itself, as it is declared
        problems = (summary_of(error),)
    finally:
        may_be_asked.reset(token)
    for problem in problems:
        field, missing, _ = problem.partition(" is missing")
        code: Code = "missing-setting" if missing else "invalid-setting"
        yield Finding(
            code=code,
            path=f"{node.path}.{field}" if missing else node.path,
            message=f"{graph.container}.{node.path}: {problem}",
            cure=(
                "give it a value in one of these places, or a default; Prefect's API was not asked"
                if missing
                else "correct the value where it stands"
            ),
        )
