"""The graph of one container as data: nodes, edges, order, and the questions that the engine asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from dependency_injector import providers

from prefect_lifespan.graph.edges import gives_coroutines, makes_settings
from prefect_lifespan.lifetimes import Lifetime

T = TypeVar("T")


class Edge(NamedTuple):
    """`label` says how the target is reached: an argument's name, a branch, "override"."""

    target: int
    label: str
    # A sub-container contains its providers, and a provider of providers hands one out uncalled: the target may be
    # asked for later, so it is opened before, but it takes no part in cycles.
    structural: bool = False


_UNKNOWN: Any = object()


@dataclass(frozen=True, slots=True)
class Node:
    """One provider: `key` is its identity, `path` its name as a user would write it."""

    key: int
    path: str
    provider: providers.Provider[object] = field(repr=False, compare=False)
    edges: tuple[Edge, ...]
    lifetime: Lifetime | None
    is_async: bool
    declared: bool  # by name in the container or in one of its sub-containers
    foreign: bool  # brought in by an override, not by the container
    overridden: bool

    @property
    def is_resource(self) -> bool:
        """Whether the engine opens it; a resource overridden by something else is not one."""
        return self.lifetime is not None and not self.overridden


@dataclass(frozen=True, eq=False)
class Graph:
    """All providers that a container reaches, in the order in which they can be opened."""

    container: str
    nodes: Mapping[int, Node]  # dependencies first, declaration order otherwise
    by_path: Mapping[str, int]
    # For each declared provider the declared ones it would need were nothing overridden.
    declared_targets: Mapping[int, tuple[int, ...]]
    # What was asked of it, and found: it dies with the graph, and so with the container class.
    _known: dict[object, Any] = field(default_factory=dict[object, Any], init=False, repr=False)

    def once(self, ask: Callable[..., T], *arguments: object) -> T:
        """What `ask` finds out of this graph, which is the same each time: found once."""
        key = (ask, *arguments) if arguments else ask  # a tuple for each call would take as long as the rest
        found = self._known.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._known.setdefault(key, ask(self, *arguments))
        return found

    @cached_property
    def resources(self) -> tuple[Node, ...]:
        """Every resource, dependencies first."""
        return tuple(node for node in self.nodes.values() if node.is_resource)

    @cached_property
    def eager(self) -> tuple[Node, ...]:
        """The resources that an eager opening opens: those that something in force can reach.

        What only an overridden provider, or a branch that a selector did not choose, would have needed is left out.
        """
        return self.needed(self._roots)

    @cached_property
    def opened_eagerly(self) -> tuple[int, ...]:
        """The keys of those that a run has for itself, and of all that they need: dependencies first."""
        of_a_run = [node.key for node in self.eager if node.lifetime is Lifetime.RUN]
        return tuple(node.key for node in self.needed(of_a_run))

    @cached_property
    def _roots(self) -> tuple[int, ...]:
        # What the container declares is a root unless another declared provider needs it. The needs of an overridden
        # provider count here too (its own edges are kept aside by the reader): a dependency whose only user is
        # overridden must not become a root by that. A sub-container, and a dependency that a declared provider is given
        # for, only lend it another name.
        needed = {target for node in self.nodes.values() for target in self.declared_targets.get(node.key, ())}
        return tuple(
            node.key
            for node in self.nodes.values()
            if node.declared and node.key not in needed and not self._is_another_name(node)
        )

    @cached_property
    def settings(self) -> tuple[Node, ...]:
        """The singletons of settings that no resource has to be open for."""
        found = [node for node in self.nodes.values() if not node.overridden and makes_settings(node.provider)]
        return tuple(node for node in found if not self.needed([node.key]))

    @cached_property
    def settings_in_force(self) -> tuple[Node, ...]:
        """The settings that anything in force can reach."""
        return self.settings_of(self._roots)

    def settings_of(self, start: Iterable[int]) -> tuple[Node, ...]:
        """The settings that `start` reaches."""
        seen = self.reachable(start)
        return tuple(node for node in self.settings if node.key in seen)

    @cached_property
    def needing_resources(self) -> frozenset[int]:
        """The keys of every provider that needs, or is, a resource."""
        return frozenset(self.reaching(lambda node: node.is_resource))

    @cached_property
    def asynchronous(self) -> tuple[Node, ...]:
        """The resources that open on an event loop, as far as that is known."""
        return tuple(node for node in self.resources if node.is_async)

    @cached_property
    def options(self) -> tuple[Node, ...]:
        """The single options of configurations that anything asks for."""
        return tuple(node for node in self.nodes.values() if isinstance(node.provider, providers.ConfigurationOption))

    def _is_another_name(self, node: Node) -> bool:
        if isinstance(node.provider, providers.Dependency):
            return bool(node.edges) and all(self.nodes[edge.target].declared for edge in node.edges)
        return isinstance(node.provider, (providers.Container, providers.DependenciesContainer))

    def choosing(self, choices: Mapping[int, str]) -> Graph:
        """The same graph where selectors have chosen: each keeps only the branch that `choices` names for its key."""
        nodes = {
            key: node
            if key not in choices
            else replace(node, edges=tuple(e for e in node.edges if e.label in ("selector", choices[key])))
            for key, node in self.nodes.items()
        }
        return replace(self, nodes=nodes)

    def reachable(self, start: Iterable[int]) -> set[int]:
        """Everything that `start` reaches, itself included."""
        seen: set[int] = set()
        stack = list(start)
        while stack:
            key = stack.pop()
            if key not in seen:
                seen.add(key)
                stack.extend(edge.target for edge in self.nodes[key].edges)
        return seen

    def needed(self, start: Iterable[int]) -> tuple[Node, ...]:
        """The resources that `start` reaches, itself included, dependencies first."""
        keys = tuple(start)
        return self.once(_needed_by, *keys) if len(keys) == 1 else _needed_by(self, *keys)

    @cached_property
    def has_task_resources(self) -> bool:
        """Whether there are resources that live as long as a task run."""
        return any(node.lifetime is Lifetime.TASK for node in self.resources)

    def needs_task_resource(self, start: Sequence[int]) -> bool:
        """Whether `start` reaches a resource that lives as long as a task run; without any, whether the container does."""
        return self.has_task_resources and any(
            node.lifetime is Lifetime.TASK for node in self.needed(start or self.nodes)
        )

    def nearest(self, start: Iterable[int]) -> set[int]:
        """The resources that `start` reaches without passing through another one: itself, where it is one."""
        return {node.key for node in self._up_to_resources(start) if node.is_resource}

    def asynchronous_calls(self, start: Iterable[int]) -> Sequence[str]:
        """The paths of providers other than resources that coroutine functions make, as far as the nearest resources."""
        return [
            node.path
            for node in self._up_to_resources(start)
            if isinstance(node.provider, (providers.Callable, providers.Factory, providers.BaseSingleton))
            and not node.overridden
            and gives_coroutines(node.provider.provides)
        ]

    def _up_to_resources(self, start: Iterable[int]) -> Iterator[Node]:
        seen: set[int] = set()
        stack = list(start)
        while stack:
            key = stack.pop()
            if key not in seen:
                seen.add(key)
                yield self.nodes[key]
                if not self.nodes[key].is_resource:
                    stack.extend(edge.target for edge in self.nodes[key].edges if not edge.structural)

    @cached_property
    def direct(self) -> Mapping[int, tuple[int, ...]]:
        """For each resource the resources it needs directly: reached without passing through another resource."""
        nearest: dict[int, tuple[int, ...]] = {}
        for node in self.nodes.values():
            found: dict[int, None] = {}
            for edge in node.edges:
                if edge.target not in nearest:
                    continue  # a structural way back; order is settled by the other direction
                if self.nodes[edge.target].is_resource:
                    found[edge.target] = None
                else:
                    found.update(dict.fromkeys(nearest[edge.target]))
            nearest[node.key] = tuple(found)
        return {node.key: nearest[node.key] for node in self.resources}

    @cached_property
    def stand_ins_for_the_process(self) -> frozenset[tuple[int, int]]:
        """What is overridden, and by what, among all that the resources of the process are made with."""
        reached = self.reachable(node.key for node in self.resources if node.lifetime is Lifetime.PROCESS)
        overridden = (self.nodes[key] for key in reached if self.nodes[key].overridden)
        return frozenset((node.key, edge.target) for node in overridden for edge in node.edges)

    def reaching(self, is_target: Callable[[Node], bool]) -> set[int]:
        """The keys of every provider that reaches, or is, a node for which `is_target` holds."""
        hit: set[int] = set()
        for node in self.nodes.values():  # dependencies first, so one pass suffices
            if is_target(node) or any(edge.target in hit for edge in node.edges if not edge.structural):
                hit.add(node.key)
        return hit

    def with_holders(self, keys: set[int]) -> set[int]:
        """`keys`, and the sub-containers that hold any of them, at any depth."""
        found = set(keys)
        for node in self.nodes.values():  # what a sub-container holds comes before it
            if isinstance(node.provider, (providers.Container, providers.DependenciesContainer)):
                found.update({node.key} if any(edge.target in found for edge in node.edges) else ())
        return found

    def chain(self, target: int, start: Iterable[int] | None = None) -> Sequence[str]:
        """Paths from what was asked for down to `target`: who needs it, and through what."""
        for root in self._roots if start is None else tuple(start):
            found = self.path_between(root, target)
            if found:
                return [self.nodes[key].path for key in found]
        return [self.nodes[target].path]

    def path_between(self, start: int, target: int) -> Sequence[int]:
        """The keys on one shortest way from `start` to `target`; empty where there is none."""
        came_from: dict[int, int] = {start: start}
        frontier = [start]
        while frontier and target not in came_from:
            frontier = [t for key in frontier for t in self._visit(key, came_from)]
        if target not in came_from:
            return []
        way = [target]
        while way[-1] != start:
            way.append(came_from[way[-1]])
        return way[::-1]

    def _visit(self, key: int, came_from: dict[int, int]) -> Iterator[int]:
        for edge in self.nodes[key].edges:
            if edge.target not in came_from:
                came_from[edge.target] = key
                yield edge.target


def _needed_by(graph: Graph, *start: int) -> tuple[Node, ...]:
    seen = graph.reachable(start)
    return tuple(node for node in graph.resources if node.key in seen)
