"""`inject`: a function whose marked parameters are provided by the container of the lifespan in force where it is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from dependency_injector.wiring import Closing, Provide, Provider

from prefect_lifespan.errors import UsageError
from prefect_lifespan.injection.markers import markers_of
from prefect_lifespan.injection.plan import Plan, plan_of
from prefect_lifespan.injection.typed import injected, provided
from prefect_lifespan.injection.written import injected as stand_in

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["Closing", "Provide", "Provider", "inject", "injected", "provided"]


def _without_parentheses(decorator: F) -> F:
    """A decorator that says so where it is called empty, as those with arguments are."""

    @functools.wraps(decorator)
    def decorate(*functions: Any, **named: Any) -> Any:
        if not functions and not named:
            raise UsageError(f"@{decorator.__name__} takes no arguments; write it without parentheses")
        return decorator(*functions, **named)

    return cast("F", decorate)


def _told(decorated: Any) -> str:
    """What is no function, and what to write instead."""
    if isinstance(decorated, type):
        if getattr(decorated, "__IS_CONTAINER__", False) is True:
            return (
                f"the container {decorated.__qualname__}; write it without parentheses, and name providers in markers"
            )
        return f"the class {decorated.__qualname__}; put it on the method that is to be injected, such as `__init__`"
    kind = type(decorated).__qualname__
    below = kind in ("Flow", "Task", "staticmethod", "classmethod")
    return f"a {kind}{'; put @inject below it, next to the function' if below else ''}"


@_without_parentheses
def inject(function: F) -> F:
    """Provide a function's marked parameters from the container in force where it is called.

    The parameters disappear from what others see of the function: its signature, a flow's parameter schema, a task's
    inputs and cache keys. An explicit keyword wins over injection, so `task.fn(..., db=fake)` needs no container.
    Outside any lifespan the call opens just what it needs and closes it when it returns.

    Args:
        function: a task's or flow's function (below `@task` or `@flow`), a state hook, a rollback hook or any other;
            synchronous, asynchronous, a generator or an asynchronous generator, and it stays of its kind. Parameters
            are marked by dependency-injector's own markers, as default values (`provided` for type checkers) or in
            `Annotated` (with `injected` as the default value).

    Raises:
        UsageError: at decoration, what can be told then: the order of decorators, a marker that names no provider, a
            positional-only parameter. When called, a string id that no lifespan in force knows.
        LifespanClosedError: when called, a resource whose lifespan has ended.
        AsyncResourceError: when called, a synchronous function that would have to open an asynchronous resource.

    Example:
        >>> from dependency_injector import containers, providers
        >>> class App(containers.DeclarativeContainer):
        ...     greeting = providers.Resource(lambda: "hello")
        >>> @inject
        ... def greet(name: str, greeting: str = Provide[App.greeting]) -> str:
        ...     return f"{greeting} {name}"
        >>> greet("world")
        'hello world'
    """
    if not inspect.isfunction(function):
        raise UsageError(f"@inject decorates functions, not {_told(function)}")
    plan = Plan(function, markers_of(function))
    if not plan.markers:
        below = plan_of(function)
        if below is not None:
            raise UsageError(
                f"{plan.where} has no parameter to inject: {below.decorator} below provides what it is marked with; drop "
                "this @inject"
            )
        raise UsageError(
            f"{plan.where} has no parameter to inject; mark one: `db: Db = Provide[Container.db]`, or drop @inject"
        )
    return cast("F", stand_in(function, plan))
