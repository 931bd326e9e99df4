"""Lifespan and dependency injection for Prefect flows.

Resources are declared once in a dependency-injector container, opened when a flow run starts, injected into its tasks,
and closed in `finally`, whatever happened in between.
"""

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
from prefect_lifespan.lifespans import install as _guard
from prefect_lifespan.lifespans import lifespan
from prefect_lifespan.lifetimes import ProcessResource, TaskResource, resource
from prefect_lifespan.overriding import override
from prefect_lifespan.scope import current_container
from prefect_lifespan.scoped import carried
from prefect_lifespan.wiring import wire
from prefect_lifespan.workers import install as _install

__version__ = "0.1.0"

_guard()
_install()

__all__ = [
    "AsyncResourceError",
    "Closing",
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
    "carried",
    "check",
    "current_container",
    "inject",
    "injected",
    "lifespan",
    "override",
    "provided",
    "resource",
    "wire",
]
