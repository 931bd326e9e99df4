"""Running one initialiser: whatever its kind, it becomes a value and a way to close it that receives the outcome.

Kinds: generator functions and context managers, dependency-injector's Resource classes, plain functions, and the
asynchronous counterparts of each. As in dependency-injector, a returned object that is a context manager is entered.
"""

from __future__ import annotations

import asyncio
import inspect
import operator
import pathlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import starmap
from time import perf_counter
from typing import Any, TypeAlias, cast

from dependency_injector import providers

from prefect_lifespan.engine.interception import interceptors
from prefect_lifespan.engine.logging_setups import logging_setups
from prefect_lifespan.engine.schedule.report import Outcome
from prefect_lifespan.managers import AsyncGeneratorManager, GeneratorManager, of_contextlib


class NeedsEventLoop(Exception):
    """A blocking initialiser returned something to be entered asynchronously, which is `made`; it is not entered."""

    def __init__(self, made: object) -> None:
        super().__init__()
        self.made = made

    def discard(self) -> None:
        """Let go of what was made, where nobody is going to enter it."""
        if inspect.iscoroutine(self.made):
            self.made.close()
        elif asyncio.isfuture(self.made):
            self.made.cancel()


class Entered:
    """One entering of a resource: what it gave, and its exit, which is called once; an asynchronous one is awaited.

    Made before the initialiser runs and filled in the same instant as that returns, so that whoever takes up what a
    signal has interrupted sees how far it came, and calls the exit neither twice nor not at all.
    """

    __slots__ = ("_exit", "_given", "_leaving", "_told", "at", "is_async")

    def __init__(self) -> None:
        self.is_async: bool = False
        self.at: float = 0.0  # when it was entered
        self._exit: Callable[..., Any] | None = None
        self._given: list[object] = []
        self._told: Iterator[tuple[Any, Any, Any]] | list[Any] | None = None  # what the exit is still to be called with
        self._leaving: Iterator[object] = _NOTHING_LEFT

    @property
    def value(self) -> object:
        """What is injected."""
        return self._given[0]

    @property
    def has_exit(self) -> bool:
        """Whether there is anything to be closed."""
        return self._exit is not None

    @property
    def is_held(self) -> bool:
        """Whether it has been entered, and its exit not been called; it has been as soon as nothing is left to be told."""
        return bool(self._given) and (self._told is None or bool(operator.length_hint(self._told)))

    def gives(self, value: object) -> None:
        """There is nothing to enter."""
        self._given.append(value)
        self.at = perf_counter()

    def enter(self, manager: Any) -> None:
        """Enter a blocking context manager."""
        self._exit, self.is_async = manager.__exit__, False
        # In C from the return of the method to the note of what it gave: Python handles no signal in between.
        self._given.extend(map(operator.call, (manager.__enter__,)))
        if not self._given:
            raise RuntimeError("the initialiser raised StopIteration")
        self.at = perf_counter()

    async def aenter(self, manager: Any) -> None:
        """Enter an asynchronous one."""
        self._exit, self.is_async = manager.__aexit__, True
        self._given.append(await manager.__aenter__())
        self.at = perf_counter()

    def close(self, outcome: Outcome) -> None:
        """Close a blocking resource with the outcome of the body; whether it would swallow it makes no difference.

        Doing it again does nothing, and calls the exit where an interruption came before that.
        """
        if self._told is None and self._exit is not None:
            told = iter([_exc_info(outcome)])
            self._leaving = starmap(self._exit, told)
            self._told = told
        next(self._leaving, None)  # in C: what the exit is called with is gone as soon as it is called

    async def aclose(self, outcome: Outcome) -> None:
        """Close a resource of either kind with the outcome of the body."""
        if not self.is_async:
            self.close(outcome)
            return
        if self._told is None and self._exit is not None:
            self._told = [self._exit(*_exc_info(outcome))]
        if isinstance(self._told, list) and self._told:
            await self._told.pop()


_NOTHING_LEFT: Iterator[object] = iter(())

Call: TypeAlias = Callable[[], object]


def call_of(provider: Any) -> Call:
    """A call of a managed resource's initialiser with its arguments provided.

    An argument that an asynchronous provider gives makes the result a coroutine. The value of another resource is handed
    over, also where it could be awaited, as a background task can.
    """
    return interceptors.around(provider, partial(_called, provider))


def made_by(provider: Any) -> object:
    """What that call gives."""
    return call_of(provider)() if interceptors.are_there else _called(provider)


def _called(provider: Any) -> object:
    initialiser = provider.initialiser
    args, kwargs, awaitable = _arguments_of(provider)
    logging_setups.begins(provider, initialiser, args, kwargs)
    if awaitable:
        resources = [slot.value for slot in provider.engine.needs(provider.slot)]
        awaitable = [value for value in awaitable if not any(value is resource for resource in resources)]
    return _call_when_ready(provider, args, kwargs, awaitable) if awaitable else initialiser(*args, **kwargs)


def enter_blocking(entered: Entered, call: Call, resource: str, *, on_loop: bool) -> None:
    """Run the initialiser of a resource, told by its path, that is blocking as far as one can tell before it has run.

    An object that is a manager of both kinds is entered asynchronously where there is an event loop to do so: clients
    that offer both often refuse the blocking one.

    Raises:
        NeedsEventLoop: what it returned is to be entered asynchronously.
    """
    made: Any = manager_of(call(), resource)
    if type(made) is GeneratorManager:  # as most are: nothing is to be asked
        entered.enter(made)
        return
    if _is_to_be_awaited(made):
        raise NeedsEventLoop(made)
    if is_async_manager(made) and not (is_blocking_manager(made) and (not on_loop or _is_rather_blocking(made))):
        raise NeedsEventLoop(made)
    _enter(entered, made)


async def enter_async(entered: Entered, made: Any, resource: str) -> None:
    """Enter what an initialiser returned, on the running event loop and in the running task."""
    made = manager_of(made, resource)
    if type(made) is AsyncGeneratorManager:  # as most are
        await entered.aenter(made)
        return
    if _is_to_be_awaited(made):
        made = manager_of(await made, resource)
    blocking = is_blocking_manager(made)
    if not is_async_manager(made) or (blocking and _was_made_blocking(made)):
        _enter(entered, made)
        return
    try:
        await entered.aenter(made)
    except _REFUSALS as refusal:
        if not blocking:
            raise
        try:
            entered.enter(made)
        except Exception:
            raise refusal from None


def manager_of(made: object, resource: str = "") -> Any:
    """What a generator function made, and a generator that a lambda, a method or any other callable returned.

    Looked at first: up to Python 3.11 asyncio takes a generator for a coroutine.
    """
    managed = of_contextlib(made, resource)  # as dependency-injector has wrapped most
    if managed is not made:
        return managed
    if inspect.isgenerator(made):
        return GeneratorManager(made, resource)
    if inspect.isasyncgen(made):
        return AsyncGeneratorManager(made, resource)
    return made


def _arguments_of(provider: Any) -> tuple[list[object], dict[str, object], list[Any]]:
    """What a managed resource's initialiser is called with, and what of that may have to be awaited before.

    That it could not be made is noted on the resource.
    """
    provider.argument_failure = None
    awaitable: list[Any] = []
    args, kwargs = provider.args, provider.kwargs
    if not args and not kwargs:
        return [], {}, awaitable

    managed = cast("object", type(provider))

    def given(argument: Any) -> object:
        # Most are another resource, whose value is handed over as it is.
        if cast("object", type(argument)) is managed:
            value = argument.slot.value
            if argument.slot.at_hand:
                return value
        # As dependency-injector has it: a delegated provider is an argument itself.
        called = providers.is_provider(argument) and not providers.is_delegated(argument)
        value = argument() if called else argument
        if _is_to_be_awaited(value):
            awaitable.append(value)
        return value

    try:
        return list(map(given, args)), {name: given(argument) for name, argument in kwargs.items()}, awaitable
    except Exception as error:
        provider.argument_failure = error
        raise


def _is_to_be_awaited(value: object) -> bool:
    return inspect.iscoroutine(value) or asyncio.isfuture(value)


async def _call_when_ready(
    provider: Any, args: list[object], kwargs: dict[str, object], awaitable: list[Any]
) -> object:
    try:
        ready = dict(zip(map(id, awaitable), await asyncio.gather(*awaitable), strict=True))
    except Exception as error:
        provider.argument_failure = error
        raise
    named = {name: ready.get(id(value), value) for name, value in kwargs.items()}
    made = provider.provides(*(ready.get(id(value), value) for value in args), **named)
    return await made if _is_to_be_awaited(made) else made


def _enter(entered: Entered, made: object) -> None:
    if is_blocking_manager(made):
        entered.enter(made)
    else:
        entered.gives(made)


def is_blocking_manager(made: object) -> bool:
    """Whether what an initialiser returned is to be entered where there is no event loop."""
    # A path still has the two methods in Python 3.11 and 3.12, where they do nothing but warn.
    is_manager = hasattr(type(made), "__enter__") and hasattr(type(made), "__exit__")
    return is_manager and not isinstance(made, pathlib.PurePath)


def is_async_manager(made: object) -> bool:
    """Whether what an initialiser returned is to be entered on an event loop."""
    return hasattr(type(made), "__aenter__") and hasattr(type(made), "__aexit__")


# By which a manager of both kinds says that the one is not to be had of it, as it was made.
_REFUSALS = (TypeError, RuntimeError, AssertionError)


def _is_rather_blocking(made: object) -> bool:
    """Whether a manager of both kinds is entered without an event loop although there is one.

    A mock that answers to both is so, as dependency-injector takes it: it says nothing about what it stands for.
    """
    mock = sys.modules.get("unittest.mock")  # not imported for this: whoever made one has done that
    return _was_made_blocking(made) or (mock is not None and isinstance(made, mock.NonCallableMock))


def _was_made_blocking(made: object) -> bool:
    """Whether an object says that its asynchronous side is not usable: Dask's clusters, clients, and file systems do."""
    return getattr(made, "asynchronous", None) is False


def _exc_info(outcome: Outcome) -> tuple[Any, Any, Any]:
    return (None, None, None) if outcome is None else (type(outcome), outcome, outcome.__traceback__)
