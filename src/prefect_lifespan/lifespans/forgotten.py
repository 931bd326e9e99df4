"""Tasks, flows and hooks whose markers nobody provides are refused by name: none of them is ever given a marker.

They are looked for where a lifespan opens (what its flow function names, and what that names), and where a task is
submitted; what cannot be seen from there, `guard` refuses where Prefect's engine is about to run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefect_lifespan.engine import State
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Finding
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_force import InForce
from prefect_lifespan.lifespans.mistakes import (
    Work,
    asynchronous_in,
    mistakes_named_in,
    mistakes_of,
    mistakes_under,
    told,
)
from prefect_lifespan.scope import current_scope


def refuse_reachable(function: Any, container: ContainerClass) -> None:
    """Refuse a flow function that names, at any depth, a task, flow or hook that would not get what it is marked with.

    `container` is the one that the flow opens.

    Raises:
        UsageError: all that were found, each with its file and line, and the cure.
    """
    found = list(mistakes_named_in(function))
    if not current_scope().lifespans:  # inside another lifespan a marker may be of that one's container
        found += mistakes_under(function, container)
    if found:
        raise UsageError(told(found))


def tell_of_asynchronous(functions: Iterable[Callable[..., Any]], lifespan: InForce) -> None:
    """Warn of blocking functions that ask for what an open lifespan without an event loop cannot open for them.

    They are not refused: whether one of them is called is up to the flow.
    """
    engine = lifespan.engine
    if engine.schedule.loop is None and engine.graph.asynchronous:
        under = lifespan.under(current_scope().overrides)
        tell(asynchronous_in(functions, under.graph, lambda node: under.slots[node.key].state is State.OPEN), lifespan)


def tell(found: Iterable[Finding], lifespan: InForce) -> None:
    """Say in the run's log what is suspicious, and no mistake for certain."""
    for finding in found:
        lifespan.logger.warning("%s", finding.told)


def refuse(work: Work, parameters: Mapping[str, object]) -> None:
    """Refuse a task or flow that is about to be called with `parameters`, which leave it a marker.

    Raises:
        UsageError: what was found, and the cure.
    """
    found = list(mistakes_of(work, parameters))
    if found:
        raise UsageError(told(found))
