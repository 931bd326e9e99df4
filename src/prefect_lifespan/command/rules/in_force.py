"""Whether what flows and tasks inject is open where they run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any, cast

from prefect_lifespan.command.located import Located, of_function, tree_of
from prefect_lifespan.command.program import Program
from prefect_lifespan.graph import Finding
from prefect_lifespan.graph.anchors import told_provider
from prefect_lifespan.graph.reader import ContainerClass, qualified_name
from prefect_lifespan.injection.mistakes import place_of


def not_open(program: Program) -> Iterator[Located]:
    """Markers of a container that the flow does not open which they run in; one that holds a copy of it is told as that."""
    for flow in program.flows:
        container = program.opens(flow)
        if container is None:
            continue
        around = [container, *program.openers_around(flow)]
        for work in (flow, *program.in_force_for(flow)):
            for marker in program.markers_of(work).values():
                owner = marker.owner
                if owner is None or _is_open(owner, around) or marker.names_inside(container) is not None:
                    continue
                where, name = (
                    place_of(work.fn),
                    told_provider(cast("Any", marker.provider)),
                )  # it has an owner, so it is no name
                yield of_function(
                    Finding(
                        code="container-not-open",
                        path=where,
                        message=(
                            f"{where}: {marker.name} is marked with {name}, and the flow {flow.name!r} opens "
                            f"{qualified_name(container)}: each call opens {qualified_name(owner)} for itself"
                        ),
                        cure=(
                            f"mark what {qualified_name(container)} declares, or open {qualified_name(owner)} around the "
                            "flow as well"
                        ),
                    ),
                    work,
                )


def without_lifespan(program: Program) -> Iterator[Located]:
    """Flows that open nothing, and call what injects, where no other flow that was found opens it around them.

    Not where the program opens lifespans in blocks: the flow may be called in one.
    """
    flows = [flow for flow in program.flows if program.opens(flow) is None]
    if not flows or any(_opens_blocks(program)):
        return
    for flow in flows:
        around = [*program.openers_around(flow)]
        asking = [
            (work, marker.owner)
            for work in (flow, *program.in_force_for(flow))
            for marker in program.markers_of(work).values()
            if marker.owner is not None and not _is_open(marker.owner, around)
        ]
        if asking and not any(flow in program.in_force_for(other) for other in program.flows if other is not flow):
            yield of_function(_without(flow, asking), flow)


def _without(flow: Any, asking: Sequence[tuple[Any, ContainerClass]]) -> Finding:
    where = place_of(flow.fn)
    names = ", ".join(dict.fromkeys(work.name for work, _ in asking))
    owner = qualified_name(asking[0][1])
    return Finding(
        code="flow-without-lifespan",
        path=where,
        message=f"the flow {where} opens no lifespan, and {names} inject from {owner}: each call opens its own",
        cure=f"put @lifespan({owner}) below @flow, or call the flow in one",
    )


def _is_open(owner: ContainerClass, around: Sequence[ContainerClass]) -> bool:
    return any(issubclass(container, owner) for container in around)


def _opens_blocks(program: Program) -> Iterator[bool]:
    for module in program.own_modules:
        tree = tree_of(module.__file__ or "")
        for statement in ast.walk(tree) if tree is not None else ():
            if isinstance(statement, (ast.With, ast.AsyncWith)):
                yield any("lifespan" in ast.dump(item.context_expr) for item in statement.items)
