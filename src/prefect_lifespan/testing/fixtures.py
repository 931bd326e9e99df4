"""The types of the pytest plugin's fixtures, for the annotations of tests that use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from dependency_injector import containers

C = TypeVar("C", bound=containers.DeclarativeContainer)


class OverrideProviders(Protocol):
    """The fixture `override_providers`."""

    def __call__(
        self,
        container: type[containers.DeclarativeContainer],
        overrides: Mapping[str, object] | None = None,
        /,
        **by_name: object,
    ) -> None:
        """Override providers of a container until the test ends."""
        ...


class LifespanContainer(Protocol):
    """The fixture `lifespan_container`."""

    def __call__(self, container: type[C], **arguments: Any) -> C:
        """Open a container until the test ends; `arguments` are those of `prefect_lifespan.lifespan`."""
        ...


class AsyncLifespanContainer(Protocol):
    """The fixture `async_lifespan_container`."""

    async def __call__(self, container: type[C], **arguments: Any) -> C:
        """Open a container until the test ends; `arguments` are those of `prefect_lifespan.lifespan`."""
        ...
