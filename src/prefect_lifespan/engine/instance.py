"""Container instances for one opening: copies of what a class declares, in which every resource is a managed one.

This re-does what dependency-injector does when a container class is called, through its public API, for two reasons:
calling the class wires the instance into modules (process-wide, so never done for a run), and the copy must know the
managed resources before it is made (`providers.deepcopy` honours a memo that was filled beforehand).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

from dependency_injector import containers, errors, providers

from prefect_lifespan.engine.awaiting_nothing import AwaitsNothing
from prefect_lifespan.engine.configuration import OptionValues, is_loaded, load_copies
from prefect_lifespan.engine.made_once import MadeOnce
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.engine.tellers import TellingSingleton, teller_like
from prefect_lifespan.errors import InvalidContainerError
from prefect_lifespan.graph import Graph, Node, refusals
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider, is_kind, makes_settings, plain_arguments
from prefect_lifespan.graph.reader import ContainerClass, named

Instances = dict[int, AnyProvider]
Manage = Callable[[Node], ManagedResource]


def made_of_class(
    container: ContainerClass,
    graph: Graph,
    overrides: Mapping[int, AnyProvider],
    manage: Manage,
    shared: Mapping[int, AnyProvider],
) -> tuple[Instances, containers.DynamicContainer]:
    """The providers of a new instance of a container class, by what they are copies of, and that instance.

    Raises:
        InvalidContainerError: an argument that a provider was declared with cannot be copied.
    """
    sources = {key: node.provider for key, node in graph.nodes.items()}
    try:
        instances, memo = copy_providers(graph, sources, graph.once(own_keys), manage, shared)
        declared = cast("Any", container).auto_load_config
        load_copies(graph, instances, {}, overrides, declared=declared)
        instance = instantiate(container, memo)
        if graph.once(_has_sub_containers):  # it asks every provider for what that relates to
            cast("Any", instance).apply_container_providers_overridings()
    except (errors.Error, TypeError) as error:
        # A lock or a client among the arguments; dependency-injector names some of these places, and not others.
        problems = refusals(graph)
        if problems:
            raise InvalidContainerError(graph.container, problems) from error
        raise
    override_all(instances, overrides)
    return instances, instance


def made_of_part(
    container: ContainerClass,
    part: Graph,
    overrides: Mapping[int, AnyProvider],
    manage: Manage,
    shared: Mapping[int, AnyProvider],
) -> Instances:
    """The same for a part of what a container class declares, which has no instance."""
    sources = {key: node.provider for key, node in part.nodes.items()}
    instances, _ = copy_providers(part, sources, part.once(own_keys), manage, shared)
    load_copies(part, instances, shared, overrides, declared=cast("Any", container).auto_load_config)
    override_all(instances, {key: each for key, each in overrides.items() if key not in shared})
    return instances


def made_of_parent(
    graph: Graph,
    parent: Mapping[int, AnyProvider],
    affected: Callable[[Node], bool],
    overrides: Mapping[int, AnyProvider],
    manage: Manage,
) -> Instances:
    """The providers of an engine that stands on another one: copies of those that reach what is affected or overridden.

    All others are the parent's.
    """
    bound = graph.once(own_keys)
    copied = graph.with_holders(graph.reaching(lambda node: node.key in overrides or affected(node)))
    copied |= {key for key in graph.nodes if key not in parent}
    sources = {key: parent.get(key, node.provider) for key, node in graph.nodes.items()}
    instances, _ = copy_providers(graph, sources, {key for key in copied if key in parent or key in bound}, manage)
    if overrides:
        load_copies(graph, instances, parent, overrides, declared=False)
        override_all(instances, overrides)
    return instances


def own_keys(graph: Graph) -> set[int]:
    """What an engine makes its own: all that the container declares, and what of an override refers to it or is loaded.

    Other providers that an override brings are used as they are.
    """
    return graph.reaching(lambda node: not node.foreign or node.lifetime is not None or is_loaded(node.provider))


def copy_providers(
    graph: Graph,
    sources: Mapping[int, Any],
    affected: Iterable[int],
    manage: Manage,
    shared: Mapping[int, AnyProvider] | None = None,
) -> tuple[Instances, dict[int, Any]]:
    """Copy the `affected` providers of `graph`, so that they refer to each other's copies and to the others as is.

    `sources` are the providers to copy, by their key in the graph; they are only read. `shared` take the place of
    some, wherever they are referred to. Returns the provider of every node, and the memo of the copy for what is to be
    copied along with it.
    """
    wanted = set(affected) - (shared or {}).keys()
    instances, memo, stand_ins = _before_copying(graph, sources, wanted, manage, shared or {})
    others = _instances_of_others(sources, wanted)
    if others:
        for key in instances:
            _note_for_others(key, instances, others, memo)
    for key in filter(wanted.__contains__, graph.nodes):  # dependencies first, so that no copy recurses deeply
        source = sources[key]
        for each in source.overridden:
            # What overrode it before another one did is no part of the graph any more: it stays what it is.
            memo.setdefault(id(each), each)
        if key in stand_ins:
            _declare_like(instances[key], source, memo)
        else:
            instances[key] = providers.deepcopy(source, memo)
            _note_for_others(key, instances, others, memo)
    _hand_over_values_of_resources(graph, instances, wanted)
    return instances, memo


def _before_copying(
    graph: Graph, sources: Mapping[int, AnyProvider], wanted: set[int], manage: Manage, taken: Mapping[int, AnyProvider]
) -> tuple[Instances, dict[int, Any], set[int]]:
    """What is there without a copy: what is taken or stays as it is, and what stands in for the `wanted`, by whose keys."""
    # The standard streams among arguments are shared, as dependency-injector's own copy has it.
    memo: dict[int, Any] = {id(stream): stream for stream in (sys.stdin, sys.stdout, sys.stderr)}
    instances: Instances = {}
    stand_ins: set[int] = set()
    for key, node in graph.nodes.items():
        source = sources[key]
        if key in taken:
            instances[key] = memo[id(source)] = taken[key]
        elif key not in wanted:
            instances[key] = memo[id(source)] = source
            if isinstance(source, providers.Container) and source is not node.provider:
                memo[id(source.container)] = source.container  # a parent of ours, not to be copied for a child's sake
        elif (stand_in := _stand_in(node, source, manage)) is not None:
            instances[key] = memo[id(source)] = stand_in
            stand_ins.add(key)
        if node.foreign or node.overridden or source is not node.provider:
            # Values that an override brought or put aside, or that were copied for this run already, stay as they are.
            memo.update({id(value): value for _, value in plain_arguments(source)})
    return instances, memo, stand_ins


def _note_for_others(key: int, instances: Instances, others: Sequence[Instances], memo: dict[int, Any]) -> None:
    """Let what other engines have for a provider be replaced by what this one has."""
    for other in others:
        if key in other:
            memo[id(other[key])] = instances[key]


def _stand_in(node: Node, source: Any, manage: Manage) -> AnyProvider | None:
    """What an engine has in the place of a provider, where that is no copy of it."""
    if node.lifetime is not None:
        return manage(node)
    teller = teller_like(source)
    if teller is TellingSingleton and makes_settings(source):
        return MadeOnce()
    return None if teller is None else teller()


def _instances_of_others(sources: Mapping[int, AnyProvider], wanted: Iterable[int]) -> Sequence[Instances]:
    """What managed resources among the sources refer to that belong to other engines, the process's: their providers.

    A run shares those resources only, and has its own provider for whatever they are made with.
    """
    managed: list[Any] = [source for key in wanted if type(source := sources[key]) is ManagedResource]
    engines = dict.fromkeys([resource.engine for resource in managed])
    return [engine.instances for engine in engines]


def _hand_over_values_of_resources(graph: Graph, instances: Instances, copied: set[int]) -> None:
    """Let what is made of resources get their values as they are, also where one could be awaited, as a task can.

    dependency-injector awaits arguments that can be, unless a provider is told not to. One is told so here whose other
    arguments certainly are there at once.
    """
    for key in graph.once(_made_of_resources_at_once):
        if key in copied:
            _never_wait(instances[key], overridden=graph.nodes[key].overridden)


def _made_of_resources_at_once(graph: Graph) -> Sequence[int]:
    """What is given resources directly, and nothing that may have to be awaited."""
    found: list[int] = []
    waits: set[int] = set()  # what may give something that is to be awaited
    for key, node in graph.nodes.items():  # dependencies first
        if node.is_resource:
            continue
        targets = [edge.target for edge in node.edges if not edge.structural]
        later = not waits.isdisjoint(targets)
        if not later and any(graph.nodes[target].is_resource for target in targets):
            found.append(key)
        if later or not _is_made_at_once(node.provider):
            waits.add(key)
    return found


def _never_wait(provider: Any, *, overridden: bool) -> None:
    provider.disable_async_mode()
    if not isinstance(provider, providers.BaseSingleton) or overridden:
        return
    singleton = cast("Any", provider)
    if isinstance(provider, AwaitsNothing) and not providers.is_provider(singleton.provides):
        provider.await_nothing()
    else:  # as `AwaitsNothing`; those that no stand-in is known for show it
        if not providers.is_provider(singleton.provides):
            factory: Any = providers.Factory(singleton.provides, *singleton.args, **singleton.kwargs)
            factory.set_attributes(**singleton.attributes)
            singleton.set_provides(factory).clear_args().clear_kwargs().clear_attributes()
        singleton.provides.disable_async_mode()


def _is_made_at_once(provider: Any) -> bool:
    if isinstance(provider, (providers.Callable, providers.Factory, providers.BaseSingleton)):
        return isinstance(cast("Any", provider).provides, type)
    if isinstance(provider, providers.Object):
        value: object = cast("Any", provider)()
        return not inspect.isawaitable(value)
    return isinstance(provider, _AT_ONCE)


_AT_ONCE: Any = (
    *(providers.Configuration, providers.ConfigurationOption, providers.List, providers.Dict, providers.Delegate),
    *(providers.Selector, providers.Dependency, providers.Container, providers.DependenciesContainer, providers.Self),
)


def instantiate(container: ContainerClass, memo: dict[int, Any]) -> containers.DynamicContainer:
    """An instance of a container class made of the copies in `memo`, whose configurations have been loaded.

    The steps of dependency-injector, less wiring; whoever has made the copies sets up the sub-containers among them.
    """
    declared: Any = container
    instance: Any = declared.instance_type()
    instance.provider_type = declared.provider_type
    instance.wiring_config.auto_wire = False
    instance.declarative_parent = container
    own, declared_own = instance.__self__, declared.__self__
    if id(declared_own) in memo or declared_own.overridden:
        own = instance.__self__ = providers.deepcopy(declared_own, memo)
        own.set_container(instance)
    else:  # the one that the instance was made with, for whatever asks for that in a copy that is still to be made
        memo[id(declared_own)] = own
        own.set_alt_names(declared_own.alt_names)
    for name in own.alt_names:
        instance.set_provider(name, own)
    attributes: dict[str, Any] = instance.__dict__
    contained: dict[str, Any] = instance.providers
    for name, declared_provider in named(container.providers):
        provider = memo.get(id(declared_provider))
        if provider is None:
            provider = providers.deepcopy(declared_provider, memo)
        if isinstance(provider, _TOLD_WHOSE):
            instance.set_provider(name, provider)
        else:  # what `set_provider` comes to, which takes many times as long
            contained[name] = attributes[name] = provider
    return instance


# What dependency-injector tells which container it is in.
_TOLD_WHOSE: Any = (providers.Dependency, *SUB_CONTAINERS)


def _has_sub_containers(graph: Graph) -> bool:
    return any(isinstance(node.provider, providers.Container) for node in graph.nodes.values())


def override_all(instances: Instances, overrides: Mapping[int, AnyProvider]) -> None:
    """Let overriding providers stand in for those they override, where the container has these.

    One that derives from another may declare anew what an override of that names, and reach the old one no more.
    """
    for key, overriding in overrides.items():
        if key not in instances:
            continue
        overridden: Any = instances[key]
        if isinstance(overriding, OptionValues):
            overridden.override(providers.Object(overriding.put_into(overridden())))
        else:
            _override(overridden, instances[id(overriding)])


def _override(overridden: Any, overriding: Any) -> None:
    """Let a provider stand in for one of an instance, without keeping that.

    dependency-injector has each note what it stands in for, and copies that along with it: one that outlives lifespans
    would hold the providers of all of them. A configuration has to know whom to tell of its changes.
    """
    overridden.override(overriding)
    if not isinstance(overriding, (providers.Configuration, providers.ConfigurationOption)):
        overriding.unregister_overrides(overridden)


def withhold_singletons(graph: Graph, own: Instances, slots: Mapping[int, Slot]) -> None:
    """Let singletons that were made of a resource which has closed say so, instead of giving what holds it.

    `own` are the providers that were copied for what closes; others belong to somebody who goes on.
    """
    for key, singleton in own.items():
        if isinstance(singleton, providers.BaseSingleton):
            gone = next((slot for node in graph.needed([key]) if (slot := slots[node.key]).state is State.CLOSED), None)
            if gone is not None:
                cast("Any", singleton).override(providers.Callable(_refuse, providers.Object(gone)))


def _refuse(gone: Slot) -> NoReturn:
    raise gone.closed_error()


def with_choices(graph: Graph, instances: Instances) -> Graph:
    """The graph in which every selector has chosen whose choice can be told before anything is open.

    One that chooses by the value of a resource keeps all its branches. One that has no choice to make (an option that
    is not set) needs none of them; it says so itself when it is used.
    """
    choices: dict[int, str] = {}
    for node in graph.once(_selectors):
        key = node.key
        selector = cast("providers.Selector[Any]", instances[key]).selector
        by = [edge.target for edge in node.edges if edge.label == "selector"]
        if selector is not None and not graph.needed(by):
            choices[key] = _choice(selector)
    return graph.choosing(choices) if choices else graph


def _selectors(graph: Graph) -> Sequence[Node]:
    return [n for n in graph.nodes.values() if isinstance(n.provider, providers.Selector) and not n.overridden]


def _choice(selector: Callable[[], object]) -> str:
    try:
        return str(selector())
    except Exception:
        return ""


def _declare_like(stand_in: Any, source: Any, memo: dict[int, Any]) -> None:
    """Give what stands in for a provider all that this is declared with."""
    made_by = source.provides
    if is_kind(made_by, providers.Provider):
        made_by = providers.deepcopy(made_by, memo)
    args: Any = source.args
    kwargs: Any = source.kwargs
    if args or kwargs:
        args = providers.deepcopy_args(source, args, memo)
        kwargs = providers.deepcopy_kwargs(source, kwargs, memo)
    if type(stand_in) is ManagedResource:
        stand_in.declare_like(made_by, args, kwargs)
    else:
        stand_in.set_provides(made_by)
        stand_in.set_args(*args)
        stand_in.set_kwargs(**kwargs)
        stand_in.set_attributes(**providers.deepcopy(source.attributes, memo))
    for overriding in source.overridden:
        _override(stand_in, providers.deepcopy(overriding, memo))
