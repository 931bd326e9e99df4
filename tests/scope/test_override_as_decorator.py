"""`override` as a decorator: in force while the function runs, for functions of every kind, and not for its callers."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, override
from prefect_lifespan.errors import UsageError


class App(containers.DeclarativeContainer):
    value = providers.Object("real")


@inject
def value(value: str = Provide[App.value]) -> str:
    return value


def test_a_function():
    @override(App, value="fake")
    def function(a: int, *, b: int = 2) -> tuple[str, int, int]:
        """What it does."""
        return value(), a, b

    assert (function(1), value()) == (("fake", 1, 2), "real")
    assert (function.__name__, function.__doc__) == ("function", "What it does.")
    assert str(inspect.signature(function)) == "(a: int, *, b: int = 2) -> tuple[str, int, int]"


def test_a_coroutine_function():
    @override(App, value="fake")
    async def function() -> str:
        await asyncio.sleep(0)
        return value()

    async def main() -> tuple[str, str]:
        return await function(), value()

    assert inspect.iscoroutinefunction(function)
    assert asyncio.run(main()) == ("fake", "real")


def test_a_generator_in_each_of_its_steps_and_not_its_caller():
    @override(App, value="fake")
    def function() -> Generator[str, Any, str]:
        heard = yield value()
        try:
            yield f"{value()} {heard}"
        except KeyError:
            yield f"{value()} caught"
        return value()

    assert inspect.isgeneratorfunction(function)
    steps = function()
    assert (next(steps), value()) == ("fake", "real")
    assert (steps.send("hello"), value()) == ("fake hello", "real")
    assert (steps.throw(KeyError()), value()) == ("fake caught", "real")
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    assert stopped.value.value == "fake"


def test_an_asynchronous_generator_in_each_of_its_steps_and_not_its_caller():
    closed: list[str] = []

    @override(App, value="fake")
    async def function() -> AsyncGenerator[str, Any]:
        try:
            heard = yield value()
            try:
                yield f"{value()} {heard}"
            except KeyError:
                yield f"{value()} caught"
        finally:
            closed.append(value())

    async def main() -> None:
        steps = function()
        assert (await anext(steps), value()) == ("fake", "real")
        assert (await steps.asend("hello"), value()) == ("fake hello", "real")
        assert (await steps.athrow(KeyError()), value()) == ("fake caught", "real")
        await steps.aclose()
        assert value() == "real"

    assert inspect.isasyncgenfunction(function)
    asyncio.run(main())
    assert closed == ["fake"]


def test_it_goes_with_inject_on_either_side():
    @override(App, value="fake")
    @inject
    def above(value: str = Provide[App.value]) -> str:
        return value

    @inject
    @override(App, value="fake")
    def below(value: str = Provide[App.value]) -> tuple[str, str]:
        return value, above()

    assert above() == "fake"
    assert below() == ("real", "fake"), "its own parameter is provided before the override is entered"


def test_two_decorated_functions_share_no_code():
    @override(App, value="fake")
    def one() -> int:
        return 1

    @override(App, value="fake")
    def two() -> int:
        return 2

    assert one.__code__ != two.__code__


def test_recursion_and_errors_leave_nothing_behind():
    @override(App, value="fake")
    def function(depth: int) -> str:
        if depth:
            return function(depth - 1)
        raise ValueError(value())

    with pytest.raises(ValueError, match="fake"):
        function(3)
    assert value() == "real"


def test_what_is_no_function_is_refused_with_the_cure():
    with pytest.raises(UsageError, match=r"not a type.*with override"):
        override(App, value="fake")(int)
