"""Reads a container class into a Graph: once a class, again only when something was overridden on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from dependency_injector import containers, providers

from prefect_lifespan.graph.edges import (
    SUB_CONTAINERS,
    AnyProvider,
    Need,
    children_of,
    initialiser_is_async,
    is_kind,
    named,
    needs_of,
    overriding_of,
)
from prefect_lifespan.graph.model import Edge, Graph, Node
from prefect_lifespan.lifetimes import lifetime_of

ContainerClass = type[containers.DeclarativeContainer]

_CACHE = "__prefect_lifespan_graph__"
_MADE_BY_CALLING: Any = (providers.Callable, providers.Factory, providers.BaseSingleton)


def qualified_name(container: ContainerClass) -> str:
    """The name of a container class as messages give it."""
    return container.__qualname__.replace("<locals>.", "")


def graph_of(container: ContainerClass) -> Graph:
    """The graph of a container class, read once and again when the class was changed since.

    The cache is an attribute of the class, so that it lives and dies with it: a table of ours that holds providers
    would keep the class alive, because providers point back at it and cannot be referenced weakly.
    """
    cached = container.__dict__.get(_CACHE)
    if isinstance(cached, _Cached) and cached.graph is not None and cached.stamp == _stamp(container):
        return cached.graph
    graph = read(container)
    given = cached.given if isinstance(cached, _Cached) and cached.given is not None else _given(container)
    setattr(container, _CACHE, _Cached(graph, _stamp(container), given))
    return graph


def is_given(container: ContainerClass, overriding: AnyProvider) -> bool:
    """Whether what overrides a dependency has been there since the class was first read, so that its declaration gave it.

    dependency-injector gives a sub-container what it depends on by overriding, and does not tell that from what is
    overridden at run time.
    """
    cached = container.__dict__.get(_CACHE)
    return isinstance(cached, _Cached) and any(overriding is given for given in cached.given or ())


def _given(container: ContainerClass) -> tuple[AnyProvider, ...]:
    dependencies = (p for _, p in declared_in(container.providers) if isinstance(p, providers.Dependency))
    return tuple(given for dependency in dependencies if (given := overriding_of(dependency)) is not None)


def read(container: ContainerClass, overrides: Mapping[int, AnyProvider] | None = None) -> Graph:
    """Read a container class; `overrides` replace providers by identity, on top of those set on the class.

    Nothing is opened or called. Takes time linear in providers and edges, whatever the depth of a chain.
    """
    return _Reader(container, overrides or {}).read()


class _Cached:
    """A graph with the stamp of what it was read from, and what stood in the place of dependencies at the first time.

    Travels empty, when a class is pickled by value.
    """

    def __init__(
        self, graph: Graph | None = None, stamp: object = None, given: tuple[AnyProvider, ...] | None = None
    ) -> None:
        self.given = given
        self.graph = graph
        self.stamp = stamp

    def __reduce__(self) -> tuple[type[_Cached], tuple[()]]:
        return _Cached, ()


def _stamp(container: ContainerClass) -> tuple[int, ...]:
    """Identities of all declared providers, what they are made by and relate to: what users change on a class after the fact.

    Overriding providers are among the related ones.
    """
    # Looked at for each lifespan.
    identities: list[int] = []
    containers: list[Mapping[Any, Any]] = [container.providers]
    for declared in containers:
        for provider in list(declared.values()):
            if is_kind(provider, providers.BaseResource):
                # What it relates to and more, in a tenth of the time that it takes to say that itself.
                given = (*provider.args, *provider.kwargs.values(), *provider.overridden)
                identities += map(id, (provider, provider.provides, *given))
            elif not isinstance(provider, providers.Self):
                # What makes it may be another kind of callable now, whose value is awaited.
                made_by = provider.provides if is_kind(provider, _MADE_BY_CALLING) else None
                identities += map(id, (provider, made_by, *provider.related))
                if isinstance(provider, SUB_CONTAINERS):
                    containers.append(cast("Any", provider).providers)
    return tuple(identities)


def declared_in(declared: Mapping[Any, AnyProvider], prefix: str = "") -> Iterator[tuple[str, AnyProvider]]:
    """Dotted path and provider of everything declared by name, sub-containers included, in declaration order."""
    for name, provider in named(declared):
        yield prefix + name, provider
        yield from declared_in(children_of(provider), f"{prefix}{name}.")


def _needs_as_declared(provider: AnyProvider) -> Iterator[Need]:
    """What a provider asks for; a sub-container's dependency is given by an override that its declaration makes."""
    given = overriding_of(provider) if isinstance(provider, providers.Dependency) else None
    return needs_of(provider) if given is None else iter([(given, "override", False)])


class _Visit(NamedTuple):
    provider: AnyProvider
    edges: list[Edge]
    pending: list[tuple[AnyProvider, str]]


class _Reader:
    def __init__(self, container: ContainerClass, overrides: Mapping[int, AnyProvider]) -> None:
        self.container = container
        self.overrides = overrides
        self.paths: dict[int, str] = {}
        self.nodes: dict[int, Node] = {}
        self.entered: set[int] = set()
        self.declared: frozenset[int] = frozenset()
        self.foreign: set[int] = set()

    def read(self) -> Graph:
        declared = list(declared_in(self.container.providers))
        by_path = {path: id(provider) for path, provider in declared}
        for path, provider in declared:
            self.paths.setdefault(id(provider), path)
        self.declared = frozenset(self.paths)
        for _, provider in declared:
            self._visit_all(provider)
        return Graph(
            container=qualified_name(self.container),
            nodes=self.nodes,
            by_path=by_path,
            declared_targets={id(provider): self._declared_targets(provider) for _, provider in declared},
        )

    def _declared_targets(self, provider: AnyProvider) -> tuple[int, ...]:
        """The declared providers that `provider` needs as it was declared, whatever overrides it.

        Through a dependency it needs what that is given by the container around; a dependency itself asks for nothing.
        """
        if isinstance(provider, providers.Dependency):
            return ()
        found: set[int] = set()
        seen: set[int] = set()
        stack = [provider]
        while stack:
            for child, _, structural in _needs_as_declared(stack.pop()):
                if structural or id(child) in seen:
                    continue
                seen.add(id(child))
                if id(child) in self.declared:
                    found.add(id(child))
                if id(child) not in self.declared or isinstance(child, providers.Dependency):
                    stack.append(child)  # written in place, without a name: its needs are those of its user
        return tuple(found & self.nodes.keys())

    def _visit_all(self, provider: AnyProvider) -> None:
        """Depth first without recursion: chains may be longer than Python's stack."""
        if id(provider) in self.entered:
            return
        stack = [self._enter(provider)]
        while stack:
            visit = stack[-1]
            if not visit.pending:
                stack.pop()
                self._leave(visit)
                continue
            child, label = visit.pending.pop(0)
            if id(child) not in self.entered:
                self.paths.setdefault(id(child), f"{self.paths[id(visit.provider)]}({label})")
                if id(child) not in self.declared and (label == "override" or id(visit.provider) in self.foreign):
                    self.foreign.add(id(child))
                stack.append(self._enter(child))

    def _enter(self, provider: AnyProvider) -> _Visit:
        self.entered.add(id(provider))
        overriding = self._overriding(provider)
        needs = list(needs_of(provider)) if overriding is None else [(overriding, "override", False)]
        edges = [Edge(id(child), label, structural) for child, label, structural in needs]
        return _Visit(provider, edges, [(child, label) for child, label, _ in needs])

    def _leave(self, visit: _Visit) -> None:
        provider = visit.provider
        key = id(provider)
        lifetime = lifetime_of(provider)
        self.nodes[key] = Node(
            key=key,
            path=self.paths[key],
            provider=provider,
            edges=tuple(visit.edges),
            lifetime=lifetime,
            is_async=lifetime is not None and initialiser_is_async(getattr(provider, "provides", None)),
            declared=key in self.declared,
            foreign=key in self.foreign,
            overridden=self._overriding(provider) is not None,
        )

    def _overriding(self, provider: AnyProvider) -> AnyProvider | None:
        overriding = self.overrides.get(id(provider))
        if overriding is not None:
            return overriding
        # A sub-container is overridden provider by provider; the override of the whole is only a mark.
        if isinstance(provider, (providers.Container, providers.DependenciesContainer)):
            return None
        return overriding_of(provider)
