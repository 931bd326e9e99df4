"""Which part of a container a single call needs, where no lifespan is open: that alone is copied, and no instance made of it.

What is copied grows with what the call asks for, and not with what the container declares.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from dependency_injector import providers

from prefect_lifespan.engine.engine import Engine
from prefect_lifespan.engine.options import Options, Overrides
from prefect_lifespan.engine.process import process_engines
from prefect_lifespan.graph import Graph, graph_of, read, refusals
from prefect_lifespan.graph.anchors import anchor_of, is_read_off
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider
from prefect_lifespan.graph.reader import ContainerClass

# What knows the container around it, and is set up with that as a whole.
_OF_A_WHOLE: Any = (*SUB_CONTAINERS, providers.Dependency, providers.Self)


def part_of(whole: Graph, asked: frozenset[int]) -> Graph | None:
    """The graph of what providers need, as they stand and as they were declared; None of a container that has no parts."""
    known = bool(asked) and asked <= whole.nodes.keys()  # a provider may have been replaced since it was named
    if not known or any(isinstance(node.provider, _OF_A_WHOLE) for node in whole.nodes.values()):
        return None
    needed: set[int] = set()
    more = set(asked)
    while more:
        needed |= whole.reachable(more)
        # What is overridden needs nothing, and is copied with its arguments all the same.
        more = {target for key in needed for target in whole.declared_targets.get(key, ())} - needed
    return replace(
        whole,
        nodes={key: node for key, node in whole.nodes.items() if key in needed},
        by_path={path: key for path, key in whole.by_path.items() if key in needed},
        declared_targets={key: targets for key, targets in whole.declared_targets.items() if key in needed},
    )


def asked_by(provider: AnyProvider) -> frozenset[int]:
    """What a marker asks a container for, where that is one of its providers, or an attribute or item of what one gives.

    Nothing where it takes the whole container to tell.
    """
    return frozenset({id(anchor_of(provider))}) if is_read_off(provider) else frozenset()


def standing_alone(
    container: ContainerClass,
    asked: frozenset[int],
    *,
    name: str,
    options: Options,
    overrides: Overrides,
    loop: asyncio.AbstractEventLoop | None,
) -> Engine:
    """An engine for a container that no lifespan is open for, with at least what is asked for.

    Raises:
        InvalidContainerError: the container cannot be opened as it is declared and overridden, be it elsewhere.
    """
    whole = read(container, overrides) if overrides else graph_of(container)
    part = whole.once(part_of, asked)
    if part is None or whole.once(refusals):
        return Engine.of(container, name=name, options=options, overrides=overrides, loop=loop)
    return _made(Engine(container, part, name=name, options=options, overrides=overrides, loop=loop), whole)


def with_more(engine: Engine, asked: frozenset[int], *, name: str) -> Engine:
    """An engine that has what is asked for too: the same one, where it has that, or one that stands on it."""
    whole = engine.whole
    if whole is None or (asked and asked <= engine.graph.nodes.keys()):
        return engine
    part = whole.once(part_of, asked.union(engine.graph.nodes)) if asked else None
    more = Engine(
        engine.container_class,
        whole if part is None else part,
        name=name,
        options=engine.options,
        overrides=engine.overrides,
        loop=engine.schedule.loop,
        parent=engine,
    )
    _made(more, None if part is None else whole)
    engine.dependents.add(more, lasts=False)
    return more


def _made(engine: Engine, whole: Graph | None) -> Engine:
    try:
        engine.become_a_part(whole)
    except BaseException:
        process_engines.release(engine.process_keys, engine)
        raise
    return engine
