"""The function that stands in for an injected one: of the same kind, under the same name, without the parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Container, Generator, Iterable, Mapping
from typing import Any, TypeAlias, cast

from prefect_lifespan.in_flight import RunningCall
from prefect_lifespan.injection.markers import Function, distinct_code, is_marker, without
from prefect_lifespan.injection.plan import Plan, planned
from prefect_lifespan.scope import Scope, current_scope
from prefect_lifespan.steps import AsyncSteps, Steps

Start: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], AsyncSteps]


class Binding:
    """How the arguments of the visible signature become those of the function, wherever the injected ones stand."""

    def __init__(self, function: Function, injected: Iterable[str]) -> None:
        names = set(injected)
        parameters = inspect.signature(function).parameters.values()
        self._positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._function = function
        self._injected = names
        self._visible = without(function, names)
        first = next((i for i, name in enumerate(self._positional) if name in names), len(self._positional))
        # With at most this many positional arguments none of them stands at or after an injected parameter.
        self.simple_up_to = first

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse a call that the visible signature does not allow, before anything is opened for it.

        Raises:
            TypeError: as Python has it for any function.
        """
        try:
            self._visible.bind(*args, **{name: value for name, value in kwargs.items() if name not in self._injected})
        except TypeError:
            if len(args) <= sum(name not in self._injected for name in self._positional):
                # Python's own words for it, which it has before the function begins; it would count one that is too
                # many together with those that are injected.
                args, kwargs = self.arguments(args, kwargs, dict.fromkeys(self._injected))
                self._function(*args, **kwargs)
            taken = ", ".join(name for name in self._positional if name not in self._injected)
            raise TypeError(
                f"{self._function.__qualname__}() got too many positional arguments: {len(args)}, and it takes "
                f"({taken}); {', '.join(sorted(self._injected))} is injected"
            ) from None

    def arguments(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments for the function; explicit keywords win over injected values."""
        named = {**values, **{name: value for name, value in kwargs.items() if not self._is_placeholder(name, value)}}
        if len(args) <= self.simple_up_to:
            return args, named
        given = list(args)
        positional: list[Any] = []
        for name in self._positional:
            if name in self._injected:
                positional.append(named.pop(name))
            elif given:
                positional.append(given.pop(0))
            elif name in named:
                positional.append(named.pop(name))
            else:
                break  # a default, and nothing positional follows
        return (*positional, *given), named

    def call(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with what the plan says; close afterwards what lives no longer than the call."""
        running = RunningCall()
        try:
            try:
                counted = running.begin_beside(current_scope(), plan.where)
                values = plan.ready(kwargs, counted=True) if counted else None
                if values is None:
                    return self._call(plan, args, kwargs)
                positional, named = self.arguments(args, kwargs, values)
                return self._function(*positional, **named)
            finally:
                running.end()
        except BaseException:
            running.end()
            raise

    def _call(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.check(args, kwargs)

        def called(values: dict[str, Any], scope: Scope) -> Any:
            positional, named = self.arguments(args, kwargs, values)
            return scope.around(lambda: self._function(*positional, **named))

        return plan.call(kwargs, called)

    async def acall(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for a coroutine function, whose call is counted."""
        self.check(args, kwargs)

        async def called(values: dict[str, Any], scope: Scope) -> Any:
            positional, named = self.arguments(args, kwargs, values)
            return await scope.aaround(lambda: self._function(*positional, **named))

        return await plan.acall(kwargs, called)

    def steps(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """The same for a generator function."""
        self.check(args, kwargs)

        def steps(values: dict[str, Any], scope: Scope) -> Generator[Any, Any, Any]:
            positional, named = self.arguments(args, kwargs, values)
            return scope.stepping(self._function(*positional, **named))

        return (yield from plan.steps(kwargs, steps))

    def asteps(self, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        """The same for an asynchronous generator function."""
        self.check(args, kwargs)

        def steps(values: dict[str, Any], scope: Scope) -> Steps:
            positional, named = self.arguments(args, kwargs, values)
            return scope.astepping(self._function(*positional, **named))

        return plan.asteps(kwargs, steps)

    def _is_placeholder(self, name: str, value: object) -> bool:
        return name in self._injected and is_marker(value)


def wrap(function: Function, plan: Plan) -> Function:
    """The function with its injected parameters provided, as a function of the same kind."""
    binding = Binding(function, plan.markers)
    if inspect.isasyncgenfunction(function):
        wrapper = _asynchronous_generator(plan, binding)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, plan, binding)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(plan, binding)
    else:
        wrapper = _blocking(function, plan, binding)
    return planned(dress(wrapper, function, plan.markers), plan)


def dress(wrapper: Function, function: Function, injected: Container[str]) -> Function:
    """Give a wrapper the function's name, documentation, place, visible signature, and identity as a task."""
    functools.update_wrapper(wrapper, function)
    dressed = cast("Any", wrapper)
    # Prefect makes task keys and input hashes of this function, where `__wrapped__` says the same
    # (tests/contract/test_prefect_task_identity.py): no instruction of ours is in what caches and task workers go by.
    dressed.__wrapped__ = dressed.__prefect_task_source__ = _undressed(function)
    dressed.__signature__ = without(function, injected)
    dressed.__annotations__ = {name: a for name, a in function.__annotations__.items() if name not in injected}
    dressed.__code__ = distinct_code(dressed.__code__, function)
    return wrapper


def _undressed(function: Function) -> Function:
    """The function itself, under wrappers of ours alone: another decorator's is a function of its own."""
    source = getattr(function, "__prefect_task_source__", None)
    return source if source is not None and source is getattr(function, "__wrapped__", None) else function


# The bodies of wrappers name nothing but their closure: Prefect pickles them by value, with the globals they name.


def _blocking(function: Function, plan: Plan, binding: Binding) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        values = plan.ready(kwargs)
        if values is not None:
            if len(args) <= binding.simple_up_to:
                return function(*args, **values, **kwargs)
            args, kwargs = binding.arguments(args, kwargs, values)
            return function(*args, **kwargs)
        return binding.call(plan, args, kwargs)

    return wrapper


def _coroutine(function: Function, plan: Plan, binding: Binding) -> Function:
    made = RunningCall

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        running = made()
        try:
            try:
                values = plan.begun(running, kwargs)
                if values is not None:
                    if len(args) <= binding.simple_up_to:
                        return await function(*args, **values, **kwargs)
                    args, kwargs = binding.arguments(args, kwargs, values)
                    return await function(*args, **kwargs)
                return await binding.acall(plan, args, kwargs)
            finally:
                running.end()
        except BaseException:
            running.end()
            raise

    return wrapper


def _generator(plan: Plan, binding: Binding) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return (yield from binding.steps(plan, args, kwargs))

    return wrapper


def _asynchronous_generator(plan: Plan, binding: Binding) -> Function:
    def start(args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        return binding.asteps(plan, args, kwargs)

    return asynchronous_generator(start)


def asynchronous_generator(start: Start) -> Function:
    """An asynchronous generator function that passes everything on to the steps which `start` gives it.

    Python has no `yield from` for them.
    """

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        started = start(args, kwargs)
        try:
            try:
                steps = await started.begin()
                step = steps.asend(None)
                try:
                    while True:
                        item = await step
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step = steps.athrow(error)
                        else:
                            step = steps.asend(sent)
                except StopAsyncIteration:
                    pass
                finally:
                    await steps.aclose()
            except BaseException as error:
                await started.aclose(error)
                raise
            await started.aclose(None)
        except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
            await started.aclose(error)
            raise

    return wrapper
