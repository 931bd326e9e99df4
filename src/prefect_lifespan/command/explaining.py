"""`explain`: where each setting of a container, or of a class of settings, comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from dependency_injector import providers

from prefect_lifespan.command.failing import FOUND, WELL, CommandError
from prefect_lifespan.command.graphing import the_container
from prefect_lifespan.command.output import console, tell, write_json
from prefect_lifespan.command.program import Program
from prefect_lifespan.command.targets import Found, find
from prefect_lifespan.graph import Graph, graph_of
from prefect_lifespan.graph.edges import makes_settings


def run(target: str, form: Literal["text", "json"]) -> int:
    """Explain the settings of a target, and print them.

    Raises:
        CommandError: the target does not exist, or has no settings.
    """
    from prefect_lifespan.settings import Explanation, explain  # noqa: PLC0415 - pydantic-settings takes a while to load

    classes = _settings_of(target, find([target]))
    explained: list[tuple[str, Explanation]] = [(path, explain(cast("Any", each))) for path, each in classes]
    if form == "json":
        several = len(explained) > 1
        fields = [
            (replace(each, path=f"{path}.{each.path}") if several else each)
            for path, explanation in explained
            for each in explanation.fields
        ]
        write_json({"fields": [{"path": f.path, "value": f.value, "source": f.source} for f in fields]})
    else:
        screen = console()
        for _, explanation in explained:
            screen.print(replace(explanation, problems=()))
    problems = [problem for _, explanation in explained for problem in explanation.problems]
    for problem in problems:
        tell(problem)
    return FOUND if problems else WELL


def _settings_of(target: str, found: Found) -> Sequence[tuple[str, type]]:
    """The classes of settings that a target names, or that its container makes; each with the name that it goes by."""
    if found.settings and not found.named:
        return [(settings.__qualname__, settings) for settings in found.settings]
    container = the_container(Program(found), [target])
    classes = dict(_settings_in(graph_of(container)))
    if not classes:
        raise CommandError(
            f"{container.__qualname__} makes no settings",
            "declare them in it, providers.Singleton(Settings), or name the class: module:Settings",
        )
    return list(classes.items())


def _settings_in(graph: Graph) -> Iterator[tuple[str, type]]:
    for node in graph.nodes.values():
        provider: Any = node.provider
        if makes_settings(provider) and not node.overridden:
            yield node.path, provider.provides
        elif isinstance(provider, providers.Configuration):
            for settings in cast("Any", provider).get_pydantic_settings():
                yield node.path, settings if isinstance(settings, type) else type(settings)
