"""Beyond one process: what of a lifespan travels to worker processes, where it opens there, and when it closes.

It is loaded when a scope is about to travel, and in the process that it has travelled to.
"""

from collections.abc import Callable
from typing import Any

from prefect.context import EngineContext

from prefect_lifespan import provider_pickling
from prefect_lifespan.lifespans.prefect_methods import submissions, when_serialized
from prefect_lifespan.scope import current_scope

__all__ = ["install"]


def install() -> None:
    """Let containers be pickled, and scopes travel with Prefect's context; doing it twice does nothing."""
    provider_pickling.register()
    when_serialized(_add_scope)
    submissions.submitted = _submitted


def _add_scope(context: EngineContext, serialized: dict[str, Any]) -> None:
    scope = current_scope()
    if serialized.get("flow") is not None and (scope.lifespans or scope.overrides):
        from prefect_lifespan.workers.scope_carrier import add_scope  # noqa: PLC0415

        add_scope(context, serialized, scope)


def _submitted(runner: Any, submit: Callable[[], Any]) -> Any:
    from prefect_lifespan.workers.scope_carrier import submitted  # noqa: PLC0415

    return submitted(runner, submit)
