"""Configurations: what a container instance loads into its own, and single options that are overridden.

The rest of an overridden one stays what the instance has loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.graph import Graph, Node
from prefect_lifespan.graph.anchors import owner_of
from prefect_lifespan.graph.edges import AnyProvider, is_settings_class, overriding_of


def is_loaded(provider: AnyProvider) -> bool:
    """Whether a container instance loads a configuration from its sources, if what declares it has that done.

    One that no container declares is given as it is where somebody has loaded it before.
    """
    if not isinstance(provider, providers.Configuration):
        return False
    configuration: Any = provider
    sources = (
        *(configuration.get_ini_files(), configuration.get_yaml_files(), configuration.get_json_files()),
        configuration.get_pydantic_settings(),
    )
    if not any(sources):
        return False
    owner = owner_of(provider)
    return overriding_of(provider) is None if owner is None else owner.auto_load_config


def load_copies(
    graph: Graph,
    instances: Mapping[int, AnyProvider],
    already: Mapping[int, AnyProvider],
    overrides: Mapping[int, AnyProvider],
    *,
    declared: bool,
) -> None:
    """Load the configurations that were copied for the first time, from what their declarations name.

    `declared` says whether that is done for those of the container itself; for others what brought them says it. Of one
    that something else stands in for, no settings are made; single options stand over the rest of it.
    """
    for node in graph.once(_configurations):
        key = node.key
        if key in already or instances[key] is node.provider:
            continue
        if is_loaded(node.provider) if node.foreign else declared:
            is_used = key not in overrides or isinstance(overrides[key], OptionValues)
            _load(instances[key], f"{graph.container}.{node.path}", is_used=is_used)


def _configurations(graph: Graph) -> Sequence[Node]:
    return [node for node in graph.nodes.values() if isinstance(node.provider, providers.Configuration)]


def _load(configuration: Any, path: str, *, is_used: bool) -> None:
    """Load a configuration; what is wrong with settings that it is given as a class is told as theirs."""
    given = [each for each in configuration.get_pydantic_settings() if is_used or not is_settings_class(each)]
    try:
        configuration.set_pydantic_settings([each() if is_settings_class(each) else each for each in given])
    except Exception as error:
        add_note(error, f"while making the settings {path}")
        raise
    configuration.load()


class OptionValues(providers.Object[Any]):
    """Stands in for some options of a configuration, by their dotted names; called, it gives just these."""

    def over(self, below: AnyProvider | None) -> AnyProvider:
        """These options on top of what else overrides the same configuration."""
        if below is None:
            return self
        if isinstance(below, OptionValues):
            return OptionValues({**below(), **self()})
        if isinstance(below, providers.Object) and not isinstance(below, providers.Configuration):
            return providers.Object(self.put_into(cast("Any", below)()))
        # What is below makes the configuration when it is asked, or has yet to be loaded.
        return providers.Callable(_put, providers.Object(dict(self())), below)

    def put_into(self, configuration: object) -> dict[str, Any]:
        """A configuration's values with these among them; neither they nor the others are copied."""
        return _put(self(), configuration)


def _put(values: Mapping[str, object], configuration: object) -> dict[str, Any]:
    result = _options(configuration)
    for name, value in values.items():
        *sections, option = name.split(".")
        section = result
        for each in sections:
            section[each] = section = _options(section.get(each))
        section[option] = value
    return result


def _options(section: object) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", section)) if isinstance(section, Mapping) else {}
