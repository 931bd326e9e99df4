"""From what a marker names to the declared provider that it stands on."""

from __future__ import annotations

from typing import Any

from dependency_injector import providers

from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.model import Graph

_CHAINS = (providers.ProvidedInstance, providers.AttributeGetter, providers.ItemGetter, providers.MethodCaller)


def anchor_of(provider: AnyProvider) -> AnyProvider:
    """The provider at the root of a chain: the declared one behind `.provided.x`, `.provider` and configuration options.

    The same steps as dependency-injector's ProvidersMap takes, with the one private call (`_get_root`) that it makes
    as well: the public `root` of an option would make a child option instead.
    """
    anchor: Any = provider
    while True:
        if isinstance(anchor, (*_CHAINS, providers.Delegate)):
            anchor = anchor.provides
        elif isinstance(anchor, providers.TypedConfigurationOption):
            anchor = anchor.option
        elif isinstance(anchor, providers.ConfigurationOption):
            return anchor._get_root()
        else:
            return anchor


def key_of_path(graph: Graph, path: str) -> int | None:
    """The declared provider that a string id stands on: its longest prefix that is declared."""
    while path:
        if path in graph.by_path:
            return graph.by_path[path]
        path = path.rpartition(".")[0]
    return None
