"""Lifespan and dependency injection for Prefect flows.

Resources are declared once in a dependency-injector container, opened when a flow run starts, injected into its tasks,
and closed in `finally`, whatever happened in between.

A public name is loaded when it is first asked for: whoever declares a container, or looks at one, does not import
Prefect for it. Where a program has Prefect, all of the library is loaded with it.
"""

import typing as _typing
from importlib import import_module as _import_module

from prefect_lifespan.importing import when_imported as _when_imported
from prefect_lifespan.late_names import late_names as _late_names

if _typing.TYPE_CHECKING:
    from prefect_lifespan.current import current_container
    from prefect_lifespan.describing import describe
    from prefect_lifespan.engine.events import Event, observe
    from prefect_lifespan.errors import (
        AsyncResourceError,
        InvalidContainerError,
        LifespanClosedError,
        LifespanError,
        ResourceCloseError,
        ResourceTimeoutError,
        UsageError,
    )
    from prefect_lifespan.graph import check
    from prefect_lifespan.injection import Closing, Provide, Provider, inject, injected, provided
    from prefect_lifespan.lifespans import lifespan
    from prefect_lifespan.lifetimes import ProcessResource, TaskResource, resource
    from prefect_lifespan.overriding import override
    from prefect_lifespan.probing import aprobe, probe
    from prefect_lifespan.scoped import carried
    from prefect_lifespan.task_serving import serve_tasks
    from prefect_lifespan.wiring import wire

__version__ = "0.1.0"

__all__ = [
    "AsyncResourceError",
    "Closing",
    "Event",
    "InvalidContainerError",
    "LifespanClosedError",
    "LifespanError",
    "ProcessResource",
    "Provide",
    "Provider",
    "ResourceCloseError",
    "ResourceTimeoutError",
    "TaskResource",
    "UsageError",
    "aprobe",
    "carried",
    "check",
    "current_container",
    "describe",
    "inject",
    "injected",
    "lifespan",
    "observe",
    "override",
    "probe",
    "provided",
    "resource",
    "serve_tasks",
    "wire",
]

if not _typing.TYPE_CHECKING:  # type checkers would take every name to be one of this module
    __getattr__ = _late_names(
        __name__,
        {
            "describing": ["describe"],
            "engine.events": ["Event", "observe"],
            "errors": [name for name in __all__ if name.endswith("Error")],
            "graph": ["check"],
            "injection": ["Closing", "Provide", "Provider", "inject", "injected", "provided"],
            "lifespans": ["lifespan"],
            "lifetimes": ["ProcessResource", "TaskResource", "resource"],
            "overriding": ["override"],
            "probing": ["aprobe", "probe"],
            "current": ["current_container"],
            "scoped": ["carried"],
            "task_serving": ["serve_tasks"],
            "wiring": ["wire"],
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _come_into_force(_: object) -> None:
    """Guard Prefect's engines, and let scopes travel with its context; doing it twice does nothing."""
    for layer in ("observability", "lifespans", "workers"):
        _import_module(f"{__name__}.{layer}").install()


# Whatever runs flows or tasks imports one of these before: `from prefect import flow` the first.
for _module in ("prefect.main", "prefect.flow_engine", "prefect.task_engine"):
    _when_imported(_module, _come_into_force)
