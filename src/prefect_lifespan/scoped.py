"""Functions that run in a scope which is not the one of their caller: `carried`, and what `override` decorates."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

from prefect_lifespan.errors import LifespanClosedError, UsageError
from prefect_lifespan.functions import Function, of_kind
from prefect_lifespan.generator_steps import AsyncSteps, Steps
from prefect_lifespan.run_context import run_context
from prefect_lifespan.scope import Scope, current_scope

F = TypeVar("F", bound=Function)


def carried(function: F) -> F:
    """The function, bound to the scope that is in force here: to its lifespans, overrides and task resources.

    For threads and executors that do not carry context variables: `threading.Thread`, `ThreadPoolExecutor`,
    `loop.run_in_executor`. (`asyncio.to_thread`, asyncio's tasks and Prefect's task runners carry them.) Called there, the
    function's injected parameters, and those of what it calls, are the ones that they would be here. It is bound in this
    process: another one, as `multiprocessing` starts them, cannot be handed what is open here.

    Args:
        function: any function, also one without injected parameters that calls such; synchronous, asynchronous, a
            generator or an asynchronous generator. It keeps its kind, name and signature.

    Raises:
        UsageError: `function` cannot be called; when called, no lifespan was in force here, and one is there.
        LifespanClosedError: when called, a lifespan that was in force here has ended.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import Provide, carried, inject, lifespan
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(lambda: "the open db")
        >>> @inject
        ... def query(number: int, db: str = Provide[App.db]) -> str:
        ...     return f"{number} from {db}"
        >>> with lifespan(App), ThreadPoolExecutor() as pool:
        ...     list(pool.map(carried(query), [1, 2]))
        ['1 from the open db', '2 from the open db']
    """
    if not callable(function):
        raise UsageError(
            f"carried() takes a function, not a {type(function).__qualname__}; give it what is to be called"
        )
    bound = _Bound(current_scope(), getattr(function, "__qualname__", type(function).__qualname__))
    return cast("F", functools.update_wrapper(in_scope(function, bound.scope), function))


class _Bound:
    """The scope in force where a function was bound, for calls from anywhere."""

    def __init__(self, scope: Scope, name: str) -> None:
        # As of here: what is in force everywhere by then is what the function was bound to, and ends as such.
        self._scope = Scope(scope.lifespans, scope.overrides, scope.call_scope)
        self._name = name
        self._shares_call_scope = scope.call_scope is not None and scope.call_scope.attempt == run_context.attempt()

    def scope(self) -> Scope:
        """The scope for one call.

        Raises:
            LifespanClosedError: one of its lifespans has ended.
            UsageError: there was nothing to bind the function to, and there is where it is called.
        """
        if not self._scope.lifespans and current_scope().lifespans:
            raise UsageError(
                f"carried({self._name}) was called where no lifespan was in force, so it is bound to none, and the function "
                "is called where one is; call carried() in the lifespan, where the function is handed to the thread or "
                "executor: pool.submit(carried(function))"
            )
        for lifespan in reversed(self._scope.lifespans):
            if lifespan.has_ended:
                raise LifespanClosedError(f"{self._name} (carried)", lifespan.engine.schedule.name)
        call_scope = self._scope.call_scope
        if not self._shares_call_scope or call_scope is None:
            return self._scope
        # A thread without the context of the task run is in no attempt, and what it calls belongs to this one.
        return Scope(self._scope.entered, self._scope.overrides, call_scope.for_attempt(run_context.attempt()))


def in_scope(function: Function, scope: Callable[[], Scope]) -> Function:
    """A function of the same kind whose calls run in what `scope` gives, each in its own."""
    # A Prefect flow or task tells by its function what calling it gives; so does a partial.
    return of_kind(inspect.unwrap(function), _InScope(function, scope))


class _InScope:
    """The calls of a function, each in a scope of its own. A generator's caller sees nothing of it between the steps."""

    def __init__(self, function: Function, scope: Callable[[], Scope]) -> None:
        self._function = function
        self._scope = scope

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._scope().around(lambda: self._function(*args, **kwargs))

    async def acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return await self._scope().aaround(lambda: self._function(*args, **kwargs))

    def steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        return (yield from self._scope().stepping(self._function(*args, **kwargs)))

    def asteps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        async def begin() -> Steps:
            return self._scope().astepping(self._function(*args, **kwargs))

        return AsyncSteps(begin)
