"""Generators stay generators: send, throw and close go through, resources close at the end, nothing leaks in between."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanError, Provide, current_container, inject, lifespan

RECORD: list[str] = []


def open_db() -> Iterator[str]:
    RECORD.append("open")
    try:
        yield "DB"
    except BaseException as error:
        RECORD.append(f"close after {type(error).__name__}")
        raise
    RECORD.append("close")


class App(containers.DeclarativeContainer):
    db = providers.Resource(open_db)


@inject
def talk(db: str = Provide[App.db]) -> Generator[Any, Any, str]:
    heard: list[Any] = []
    while True:
        try:
            word = yield (db, tuple(heard))
        except KeyError as error:
            heard.append(f"caught {error.args[0]}")
        else:
            if word == "stop":
                return "done"
            heard.append(word)


@inject
async def atalk(db: str = Provide[App.db]) -> AsyncGenerator[Any, Any]:
    heard: list[Any] = []
    while True:
        try:
            word = yield (db, tuple(heard))
        except KeyError as error:
            heard.append(f"caught {error.args[0]}")
        else:
            if word == "stop":
                return
            heard.append(word)


@pytest.fixture(autouse=True)
def empty_record() -> None:
    RECORD.clear()


def test_send_and_throw_reach_the_generator_and_its_result_the_caller():
    talking = talk()
    assert next(talking) == ("DB", ())
    assert talking.send("hello") == ("DB", ("hello",))
    assert talking.throw(KeyError("thrown")) == ("DB", ("hello", "caught thrown"))
    with pytest.raises(StopIteration) as stopped:
        talking.send("stop")
    assert stopped.value.value == "done"
    assert RECORD == ["open", "close"]


def test_asend_and_athrow_reach_the_asynchronous_generator():
    async def main() -> None:
        talking = atalk()
        assert await anext(talking) == ("DB", ())
        assert await talking.asend("hello") == ("DB", ("hello",))
        assert await talking.athrow(KeyError("thrown")) == ("DB", ("hello", "caught thrown"))
        with pytest.raises(StopAsyncIteration):
            await talking.asend("stop")

    asyncio.run(main())
    assert RECORD == ["open", "close"]


def test_nothing_opens_before_the_first_step():
    talk().close()
    assert RECORD == []


def test_closing_a_generator_early_closes_what_was_opened_for_it():
    talking = talk()
    next(talking)
    talking.close()
    assert RECORD == ["open", "close after GeneratorExit"]


def test_closing_an_asynchronous_generator_early_closes_what_was_opened_for_it():
    async def main() -> None:
        talking = atalk()
        await anext(talking)
        await talking.aclose()

    asyncio.run(main())
    assert RECORD == ["open", "close after GeneratorExit"]


def test_an_error_in_a_generator_reaches_the_resource_and_the_caller():
    talking = talk()
    next(talking)
    with pytest.raises(ValueError, match="unexpected"):
        talking.throw(ValueError("unexpected"))
    assert RECORD == ["open", "close after ValueError"]


def test_an_error_in_an_asynchronous_generator_reaches_the_resource_and_the_caller():
    async def main() -> None:
        talking = atalk()
        await anext(talking)
        with pytest.raises(ValueError, match="unexpected"):
            await talking.athrow(ValueError("unexpected"))

    asyncio.run(main())
    assert RECORD == ["open", "close after ValueError"]


@inject
def helper(db: str = Provide[App.db]) -> str:
    return db


@inject
def steps(db: str = Provide[App.db]) -> Generator[bool, None, None]:
    yield helper() is db
    yield helper() is db


@inject
async def asteps(db: str = Provide[App.db]) -> AsyncGenerator[bool, None]:
    yield helper() is db
    yield helper() is db


def test_a_generators_helpers_share_its_resources_in_each_step_and_its_caller_does_not():
    stepping = steps()
    assert next(stepping)
    assert RECORD == ["open"]
    helper()
    assert RECORD == ["open", "open", "close"], "the caller, between two steps, is outside"
    assert list(stepping) == [True]
    assert RECORD == ["open", "open", "close", "close"]


def test_an_asynchronous_generators_caller_is_outside_between_steps():
    async def main() -> None:
        stepping = asteps()
        assert await anext(stepping)
        helper()
        assert RECORD == ["open", "open", "close"]
        assert [step async for step in stepping] == [True]

    asyncio.run(main())
    assert RECORD == ["open", "open", "close", "close"]


def test_a_lifespan_that_a_generator_is_started_in_is_its_own_for_good():
    @inject
    def reading(db: str = Provide[App.db]) -> Iterator[Any]:
        yield current_container(App)
        yield current_container(App)

    with lifespan(App) as container:
        numbers = reading()
        assert next(numbers) is container
        with lifespan(App, share=False) as inner:
            assert next(numbers) is container
            assert inner is not container
    numbers = None  # left unfinished


def test_two_interleaved_generators_keep_their_lifespans_apart():
    @inject
    def reading(db: str = Provide[App.db]) -> Iterator[Any]:
        while True:
            yield current_container(App)

    one, two = reading(), reading()
    with lifespan(App, eager=False) as first:
        assert next(one) is first
    with lifespan(App, eager=False) as second:
        assert next(two) is second
        assert next(one) is first
        assert next(two) is second
    with pytest.raises(LifespanError):
        current_container(App)
    one.close()  # pyright: ignore[reportAttributeAccessIssue]
    two.close()  # pyright: ignore[reportAttributeAccessIssue]
