"""Whose a resource is: a container's, by the class and not by its name, in whatever lifespan it opens."""

from __future__ import annotations

from prefect_lifespan.engine import Engine, Event, Slot
from prefect_lifespan.engine.events import THE_PROCESS, Happening
from prefect_lifespan.graph import Node, graph_of
from prefect_lifespan.graph.reader import ContainerClass


def is_of(container: ContainerClass, engine: Engine, node: Node) -> bool:
    """Whether a resource is one of `container`: its lifespan is, or is of one that derives from it.

    What lives as long as the process belongs to the class that declares it, and to all that inherit it.
    """
    if issubclass(engine.container_class, container):
        return True
    return engine.schedule.name == THE_PROCESS and node.key in graph_of(container).nodes


def is_told_of(container: ContainerClass, happening: Happening) -> bool:
    """Whether it is a resource of `container` that something happened to."""
    slot = happening.slot
    return isinstance(slot, Slot) and is_of(container, slot.provider.engine, slot.node)


def is_of_the_process(event: Event) -> bool:
    """Whether an event tells of a resource that all runs of the process share."""
    return event.lifespan == THE_PROCESS
