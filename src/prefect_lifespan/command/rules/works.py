"""What is wrong with flows, tasks, their hooks, and functions that carry markers."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from prefect_lifespan.command.located import Located, of_function, tree_of
from prefect_lifespan.command.program import Program
from prefect_lifespan.injection.mistakes import mistake, unprovided


def of_works(program: Program) -> Iterator[Located]:
    """What the library itself refuses when it comes to it: tasks first, which flows name as well."""
    if program.found.works:
        from prefect_lifespan.lifespans.mistakes import findings_of  # noqa: PLC0415 - there is Prefect

        wires = any(_wires(program))  # what a flow calls may be provided by then
        for work in (*program.tasks, *program.flows):
            for finding in findings_of(work):
                if not (wires and finding.code == "uninjected-helper"):
                    yield of_function(finding, work)


def of_functions(program: Program) -> Iterator[Located]:
    """Functions that carry a marker and have no `@inject`: what calls them hands them the marker.

    Not those that dependency-injector is going to wire: with its own `@inject`, or in a program that wires modules.
    """
    if any(_wires(program)):
        return
    hooks = _hooks(program)  # told with the flow or task that they are of
    for function in program.found.functions:
        if any(function is hook for hook in hooks):
            continue
        left = unprovided(function)
        finding = mistake("function", function, left) if left else None
        if finding is not None and finding.code != "stock-inject":
            yield of_function(finding, function)


def _hooks(program: Program) -> Sequence[Any]:
    if not program.found.works:
        return ()
    from prefect_lifespan.lifespans.mistakes import hooks_of  # noqa: PLC0415 - there is Prefect

    return [hook for work in program.found.works for _, hook in hooks_of(work)]


def _wires(program: Program) -> Iterator[bool]:
    for container in program.found.containers:
        wired: Any = container.wiring_config
        yield bool(wired.modules or wired.packages)
    for module in program.own_modules:
        tree = tree_of(module.__file__ or "")
        for call in ast.walk(tree) if tree is not None else ():
            called = call.func if isinstance(call, ast.Call) else None
            yield getattr(called, "attr", getattr(called, "id", "")) == "wire"
