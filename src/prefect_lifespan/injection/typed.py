"""Markers as a type checker sees them: `provided` for a default value, `injected` beside a marker in `Annotated`."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from dependency_injector import providers
from dependency_injector.wiring import Provide

T = TypeVar("T")


def provided(provider: providers.Provider[T]) -> T:
    """The marker `Provide[provider]`, which a type checker takes for what the provider gives.

    `db: Engine = Provide[App.engine]` passes whatever `App.engine` gives; with `provided` a wrong type is found. What
    dependency-injector types as `Any` stays so: a `.provided` chain, a `Dependency` without a type.

    Args:
        provider: one that a container class declares.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import inject, provided
        >>> class App(containers.DeclarativeContainer):
        ...     greeting = providers.Singleton(str, "hello")
        >>> @inject
        ... def greet(name: str, greeting: str = provided(App.greeting)) -> str:
        ...     return f"{greeting} {name}"
        >>> greet("world")
        'hello world'
    """
    return cast("T", Provide[provider])


class Injected:
    """The default value of a parameter whose marker is in its annotation, so that callers need not give it.

    A type checker takes it for a value of any type; `inject` and `lifespan` put what is marked in its place.

    Example:
        >>> from typing import Annotated
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import Provide, inject, injected
        >>> class App(containers.DeclarativeContainer):
        ...     greeting = providers.Singleton(str, "hello")
        >>> Greeting = Annotated[str, Provide[App.greeting]]
        >>> @inject
        ... def greet(name: str, greeting: Greeting = injected) -> str:
        ...     return f"{greeting} {name}"
        >>> greet("world")
        'hello world'
    """

    def __repr__(self) -> str:
        return "injected"

    def __reduce__(self) -> str:
        return "injected"


injected: Any = Injected()
