"""Options of configurations that have no value although something needs them."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter
from typing import Any, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from dependency_injector import errors, providers

from prefect_lifespan.graph.arguments import signature_of
from prefect_lifespan.graph.edges import AnyProvider, is_kind, is_settings_class, overriding_of, root_of
from prefect_lifespan.graph.model import Edge, Graph, Node

# What asking for an option says: it is refused, it is None, it has a value, or that cannot be told.
Answer: TypeAlias = Literal["refused", "none", "given", "unknown"]


class Missing(NamedTuple):
    """An option without a value: its path, its node, and whether asking for it is refused, as it is `required`."""

    path: str
    node: Node
    refused: bool


def as_declared(graph: Graph) -> Iterator[Missing]:
    """Options without a value as the container class stands, its configurations loaded as an instance loads them.

    Where None is what a parameter may be given, an option that is None is no finding.
    """
    loaded: dict[int, Any] = {}
    declared = (node.key for node in graph.nodes.values() if node.declared)
    for option, users in _needed(graph, declared, beyond_resources=True).items():
        answer = _ask(option, graph, loaded)
        if answer == "refused" or (answer == "none" and not all(_takes_none(*user) for user in users)):
            yield Missing(_path(graph, option), option, refused=answer == "refused")


def refused(graph: Graph, keys: Iterable[int], instances: Mapping[int, AnyProvider]) -> Iterator[Missing]:
    """Options that these resources need at once, and that a container instance refuses to give."""
    if not graph.options or graph.once(_are_filled_while_opening):
        return
    for option in dict.fromkeys(option for key in keys for option in graph.once(_needed_by, key)):
        try:
            instances[option.key]()
        except errors.Error:
            yield Missing(_path(graph, option), option, refused=True)


def _needed_by(graph: Graph, key: int) -> tuple[Node, ...]:
    return tuple(_needed(graph, [key]))


def _needed(
    graph: Graph, start: Iterable[int], *, beyond_resources: bool = False
) -> dict[Node, list[tuple[Node, Edge]]]:
    """The options that `start` asks for as it is called, and other resources than it where told so, each with who asks."""
    found: dict[Node, list[tuple[Node, Edge]]] = {}
    seen: set[int] = set()
    stack = list(start)
    while stack:
        node = graph.nodes[stack.pop()]
        if node.key in seen:
            continue
        seen.add(node.key)
        for edge in _asked_for(node):
            target = graph.nodes[edge.target]
            if is_kind(target.provider, providers.ConfigurationOption):
                if all(each.label != "key" for each in target.edges):  # a name that another provider gives
                    found.setdefault(target, []).append((node, edge))
            elif beyond_resources or not target.is_resource:
                stack.append(edge.target)
    return found


def _asked_for(node: Node) -> Iterator[Edge]:
    """What a provider certainly calls when it is called: of a selector's branches one, of an aggregate's none."""
    if is_kind(node.provider, providers.Aggregate) and not node.overridden:
        return
    branches = is_kind(node.provider, providers.Selector) and len(node.edges) > 2
    for edge in node.edges:
        if not edge.structural and edge.label != "needs" and not (branches and edge.label != "selector"):
            yield edge


def _are_filled_while_opening(graph: Graph) -> bool:
    """Whether some provider is handed a configuration, or the whole container, uncalled: it may set options."""
    return any(
        is_kind(node.provider, providers.Self)
        or any(e.structural and is_kind(graph.nodes[e.target].provider, providers.Configuration) for e in node.edges)
        for node in graph.nodes.values()
        if not is_kind(node.provider, (providers.Container, providers.DependenciesContainer))
    )


def _ask(option: Node, graph: Graph, loaded: dict[int, Any]) -> Answer:
    provider: Any = option.provider
    root = root_of(provider)
    if graph.nodes[id(root)].overridden and not is_kind(overriding_of(root), providers.Object):
        return "unknown"
    if id(root) not in loaded:
        loaded[id(root)] = _loaded(root)
    configuration = loaded[id(root)]
    if configuration is None:
        return "unknown"
    try:
        value = configuration.get(".".join(provider.get_name_segments()), required=provider.is_required())
    except errors.Error:
        return "refused"
    return "none" if value is None else "given"


def _loaded(configuration: Any) -> Any:
    """A configuration as an instance of its container has it; None where its files cannot be read here.

    Nor where it is given a class of settings, which may ask an API when it is made.
    """
    sources: tuple[Callable[[], list[object]], ...] = (
        configuration.get_ini_files,
        configuration.get_yaml_files,
        configuration.get_json_files,
        configuration.get_pydantic_settings,
    )
    if not any(source() for source in sources):
        return configuration
    if any(is_settings_class(each) for each in configuration.get_pydantic_settings()):
        return None
    try:
        copied = providers.deepcopy(configuration)
        copied.load()
    except Exception:  # told where it is opened, by whoever reads the file
        return None
    return copied


def _path(graph: Graph, option: Node) -> str:
    provider: Any = option.provider
    return ".".join([graph.nodes[id(root_of(provider))].path, *provider.get_name_segments()])


def _takes_none(user: Node, edge: Edge) -> bool:
    """Whether the parameter that an argument is for may be None."""
    signature = signature_of(getattr(user.provider, "provides", None))
    if signature is None:
        return False
    parameter = signature.parameters.get(edge.label)
    if edge.label.startswith("argument "):
        index = int(edge.label.removeprefix("argument "))
        parameter = dict(enumerate(signature.parameters.values())).get(index)
    return parameter is not None and (parameter.default is None or _names_none(parameter.annotation))


def _names_none(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return "None" in annotation or "Optional" in annotation
    if annotation is Parameter.empty:
        return False
    return annotation is None or (
        get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)
    )
