"""`current_container`: the container instance of the lifespan in force."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from dependency_injector import containers

from prefect_lifespan.errors import LifespanError
from prefect_lifespan.graph.anchors import copies_inside
from prefect_lifespan.graph.reader import ContainerClass, qualified_name
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Scope, current_scope

C = TypeVar("C", bound=containers.DeclarativeContainer)


@overload
def current_container(container: type[C]) -> C: ...
@overload
def current_container(container: None = None) -> containers.DynamicContainer: ...
def current_container(container: ContainerClass | None = None) -> Any:
    """The container instance of the enclosing lifespan.

    Args:
        container: the container class, where lifespans of several are in force; the innermost one without.

    Raises:
        LifespanError: no such lifespan is open here.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import current_container, lifespan
        >>> class App(containers.DeclarativeContainer):
        ...     greeting = providers.Object("hello")
        >>> with lifespan(App):
        ...     current_container(App).greeting()
        'hello'
    """
    stand_in = run_context.stand_in()
    if stand_in is not None:
        return stand_in
    scope = current_scope()
    found = scope.innermost(container)
    if found is None:
        raise _not_open(container, scope)
    return scope.view(found.under(scope.overrides), "current_container()").instance


def _not_open(container: ContainerClass | None, scope: Scope) -> LifespanError:
    opened = [lifespan.container for lifespan in scope.lifespans]
    wanted = "No lifespan" if container is None else f"No lifespan of {qualified_name(container)}"
    cure = "Call this inside a flow decorated with @lifespan, in a task it calls, or inside `with lifespan(...)`."
    for outer in opened:
        for path in () if container is None else copies_inside(container, outer):
            cure = f"Its copy there is `current_container({outer.__qualname__}).{path}`."
    return LifespanError(f"{wanted} is open here (open: {', '.join(map(qualified_name, opened)) or 'none'}). {cure}")
