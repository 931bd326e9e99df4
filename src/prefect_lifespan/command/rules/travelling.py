"""Whether what a flow opens can be sent to the worker processes of its task runner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prefect_lifespan.command.located import Located, of_function
from prefect_lifespan.command.program import Program
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import Finding
from prefect_lifespan.injection.mistakes import place_of


def cannot_travel(program: Program) -> Iterator[Located]:
    """Lifespans of flows on a runner with worker processes, with overrides that cannot be pickled for them."""
    for flow in program.flows:
        settings = program.lifespan_of(flow)
        problem = "" if settings is None else _problem(flow, settings)
        if problem:
            where = place_of(flow.fn)
            message, _, cure = problem.partition("; ")
            message = f"the flow {where} runs its tasks with {type(flow.task_runner).__name__}: {message}"
            yield of_function(Finding(code="cannot-travel", path=where, message=message, cure=cure), flow)


def _problem(flow: Any, settings: Any) -> str:
    # There is Prefect, where there are flows.
    from prefect_lifespan.workers import reducers  # noqa: PLC0415
    from prefect_lifespan.workers.reach import cloudpickled, module_for  # noqa: PLC0415
    from prefect_lifespan.workers.references import Parts, dumped  # noqa: PLC0415

    if module_for(flow.task_runner) is None:
        return ""
    reducers.register()
    overrides = {} if settings.overrides is None or callable(settings.overrides) else dict(settings.overrides)
    parts = Parts(settings.container, settings.policy, settings.max_workers, overrides)
    try:
        dumped(parts, settings.container, overrides, cloudpickled)
    except UsageError as error:
        return str(error)
    return ""
