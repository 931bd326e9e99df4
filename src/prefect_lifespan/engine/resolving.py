"""From a marker to a provider: what a marker names on a container class, as one container instance has it."""

from __future__ import annotations

import threading
from typing import Any, cast

from dependency_injector import providers
from dependency_injector.wiring import Modifier, ProvidersMap

from prefect_lifespan.engine.awaited import real_of
from prefect_lifespan.engine.face import Face
from prefect_lifespan.graph.anchors import anchor_of, is_read_off
from prefect_lifespan.graph.edges import CHAINS, AnyProvider, is_kind
from prefect_lifespan.signal_safe import under


class Resolver:
    """Finds an engine's own providers."""

    def __init__(self, engine: Face) -> None:
        self._engine = engine
        self._map: Any = None  # a ProvidersMap, whose stubs are partly unknown
        self._lock = threading.Lock()

    def resolve(self, provider: AnyProvider | str, modifier: Modifier | None) -> AnyProvider | None:
        """The engine's provider for what a marker names; None where the container has no such one."""
        parent = self._engine.parent
        if self._engine.whole is not None:
            return None if isinstance(provider, str) else self._of_a_part(provider)
        if parent is None or parent.whole is not None:
            return self._declared(provider, modifier)
        return self._inherited(parent, provider, modifier)

    def _of_a_part(self, provider: AnyProvider) -> AnyProvider | None:
        anchor = anchor_of(provider)
        own = self._engine.instances.get(id(anchor)) if is_read_off(provider) else None
        return own if own is None or anchor is provider else providers.deepcopy(provider, {id(anchor): own})

    def _declared(self, provider: Any, modifier: Modifier | None) -> AnyProvider | None:
        instance, instances = self._engine.instance, self._engine.instances
        if is_kind(provider, CHAINS) and not is_read_off(provider) and id(anchor_of(provider)) in instances:
            # A method that is called: dependency-injector's own way would hand it the class's own providers as arguments.
            return providers.deepcopy(provider, dict(instances))
        found = real_of(under(self._lock, self._found, instance, provider, modifier))
        # Declared without a name of its own, in the place where it is used: a member of an aggregate, an argument.
        key = id(anchor_of(provider)) if found is None and not isinstance(provider, str) else None
        return found if key is None or key not in instances else providers.deepcopy(provider, {key: instances[key]})

    def _found(self, instance: Any, provider: AnyProvider | str, modifier: Modifier | None) -> AnyProvider | None:
        self._map = self._map or ProvidersMap(instance)
        return self._map.resolve_provider(provider, modifier)

    def _inherited(self, parent: Face, provider: AnyProvider | str, modifier: Modifier | None) -> AnyProvider | None:
        inherited = parent.resolve(provider, modifier)
        if inherited is None:
            return None
        if isinstance(inherited, providers.Self):
            return cast("Any", self._engine.instance).__self__
        # A declared provider is in the memo; what is built on one (`.provided.x`) is copied onto our own.
        # What only an overridden provider asked for, an option for example, is not ours yet, and is copied as well.
        own = self._engine.instances
        memo = {
            id(source): own.get(key, source)
            for key, source in parent.instances.items()
            if key in own or parent.graph.nodes[key].lifetime is not None
        }
        return providers.deepcopy(inherited, memo)
