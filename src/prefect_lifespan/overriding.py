"""`override`: other providers or plain objects in a container's place, for everything that is called here and no further."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar, cast

from prefect_lifespan.errors import UsageError
from prefect_lifespan.functions import dressed
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.anchors import copy_inside
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_force import InForce
from prefect_lifespan.overrides import EnteredOverride, Overrides, overrides_of
from prefect_lifespan.scope import Scope, current_scope, push_override, remove_override, with_override
from prefect_lifespan.scoped import in_scope

F = TypeVar("F", bound=Callable[..., Any])


class override:  # noqa: N801 - a context manager, named as the field names it
    """Put providers or plain objects in the place of a container's, in this context only.

    Seen by lifespans opened inside and by calls inside an open one, in threads, asyncio tasks and subflows; invisible
    to anything else that runs at the same time. An overridden resource is not opened, nor what only it needed.

    Args:
        container: the container class.
        overrides: by dotted path, which reaches into sub-containers and to single options of a configuration:
            `{"gateways.api": fake, "config.url": "sqlite://"}`. Or a container class, such as one that derives from
            `container`: what it declares by the same names stands in.
        by_name: by keyword, over `overrides`. A value that is a provider is used as it is, any other is what is
            injected: neither is copied. What an override's own providers refer to of the container is taken from the
            run.

    Raises:
        UsageError: a name that the container does not declare.
        TypeError: `container` is not a container class.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import Provide, inject, override
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(lambda: "the real one")
        >>> @inject
        ... def query(db: str = Provide[App.db]) -> str:
        ...     return f"asked {db}"
        >>> with override(App, db="a fake"):
        ...     query()
        'asked a fake'

    It is a decorator as well, for functions of every kind.
    """

    def __init__(self, container: ContainerClass, overrides: Overrides | None = None, /, **by_name: object) -> None:
        self._container = require_container(container)
        self._overrides = overrides_of(self._container, overrides, by_name)  # a wrong name speaks here

    def __enter__(self) -> None:
        entered = self._enters()
        push_override(entered)
        for lifespan in current_scope().lifespans:
            tell_of_copies(lifespan, [entered])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove_override(self)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        remove_override(self)

    def __call__(self, function: F) -> F:
        if not inspect.isfunction(function):
            raise UsageError(
                f"override(...) decorates functions, not a {type(function).__qualname__}: put it around the call, "
                "`with override(...):`, or below @flow or @task"
            )
        return cast("F", dressed(in_scope(function, self.scope), function))

    def scope(self) -> Scope:
        """The scope that is in force here, with this override in it."""
        return with_override(self._enters())

    def _enters(self) -> EnteredOverride:
        # One for each use: the same override may be entered in several contexts at once, and again inside.
        return EnteredOverride(self._container, self._overrides, owner=self)


def tell_of_copies(lifespan: InForce, overrides: Iterable[EnteredOverride]) -> None:
    """Warn of overrides of a container class of which an open lifespan holds a copy: they mean the class, not the copy.

    They are no mistake by themselves: the class may be opened elsewhere, or be what markers name.
    """
    container = lifespan.container
    for entered in overrides:
        if issubclass(container, entered.container):
            continue
        copies, declared = graph_of(container).by_path, graph_of(entered.container)
        found = {
            path: copy_inside(declared.nodes[declared.by_path[path]].provider, entered.container, container)
            for path in entered.by_path
        }
        if not any(found.values()):
            continue
        overridden = lifespan.under(current_scope().overrides).overrides
        missed = {path: copy for path, copy in found.items() if copy is not None and copies[copy] not in overridden}
        if missed:
            lifespan.logger.warning(
                "override(%s, ...) of %s does not reach the copy of %s that %s holds and that is open here: write "
                "override(%s, {%s})",
                entered.container.__qualname__,
                ", ".join(missed),
                entered.container.__qualname__,
                container.__qualname__,
                container.__qualname__,
                ", ".join(f"{copy!r}: ..." for copy in missed.values()),
            )
