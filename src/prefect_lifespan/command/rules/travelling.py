"""Whether what a flow opens can be sent to the worker processes of its task runner."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_lifespan.command.located import Located, of_function, tree_of
from prefect_lifespan.command.program import Program
from prefect_lifespan.command.targets import is_work
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Finding
from prefect_lifespan.injection.mistakes import place_of
from prefect_lifespan.provider_pickling import register


def cannot_travel(program: Program) -> Iterator[Located]:
    """Lifespans of flows on a runner with worker processes, with overrides that cannot be pickled for them.

    The runner is that of the flow, or one that code of the program gives it: `flow.with_options(task_runner=...)`. What
    a function gives as overrides is not known before it is called.
    """
    runners: list[tuple[Any, type[Any]]] = [(flow, type(flow.task_runner)) for flow in program.flows]
    for flow, runner in [*runners, *(_given(program) if runners else ())]:
        settings = program.lifespan_of(flow)
        problem = "" if settings is None else _problem(runner, settings)
        if problem:
            where = place_of(flow.fn)
            message, _, cure = problem.partition("; ")
            message = f"the flow {where} runs its tasks with {runner.__name__}: {message}"
            yield of_function(Finding(code="cannot-travel", path=where, message=message, cure=cure), flow)


def _given(program: Program) -> Iterator[tuple[Any, type]]:
    """The flows to which code gives a task runner, with its type, as far as names of the module lead to both."""
    for module in program.own_modules:
        tree = tree_of(module.__file__ or "")
        for call in ast.walk(tree) if tree is not None else ():
            match call:
                case ast.Call(func=ast.Attribute(value=named, attr="with_options"), keywords=keywords):
                    flow = _meant(named, vars(module))
                    runners = [each.value for each in keywords if each.arg == "task_runner"]
                    kinds = [_kind(runner, vars(module)) for runner in runners]
                    if is_work(flow) and not program.is_task(flow):
                        yield from ((flow, kind) for kind in kinds if kind is not None)
                case _:
                    pass


def _kind(runner: ast.expr, namespace: Mapping[str, object]) -> type | None:
    """The type of a task runner that an expression makes or names."""
    from prefect.task_runners import TaskRunner  # noqa: PLC0415 - there is Prefect, where there are flows

    value = _meant(runner.func if isinstance(runner, ast.Call) else runner, namespace)
    kind: type[Any] = value if isinstance(value, type) else type(value)
    return kind if TaskRunner in kind.__mro__ else None


def _meant(expression: ast.expr, namespace: Mapping[str, object]) -> object:
    """What a name, or an attribute of one, stands for; None where that is not known."""
    match expression:
        case ast.Name(id=name):
            return namespace.get(name)
        case ast.Attribute(value=value, attr=name):
            return vars(owner).get(name) if hasattr(owner := _meant(value, namespace), "__dict__") else None
        case _:
            return None


def _problem(runner: type, settings: Any) -> str:
    # There is Prefect, where there are flows.
    from prefect_lifespan.workers.references import Parts, dumped  # noqa: PLC0415
    from prefect_lifespan.workers.remote_workers import cloudpickled, module_for_kind  # noqa: PLC0415

    if module_for_kind(runner) is None:
        return ""
    register()
    overrides = {} if settings.overrides is None or callable(settings.overrides) else dict(settings.overrides)
    parts = Parts(settings.container, settings.policy, settings.max_workers, overrides)
    try:
        dumped(parts, settings.container, overrides, cloudpickled)
    except UsageError as error:
        return str(error)
    return ""
