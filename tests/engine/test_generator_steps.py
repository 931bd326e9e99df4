"""A generator that yields no value, or a second time: the error names resource, generator and line, and what to write."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import TaskResource, inject, lifespan
from prefect_lifespan.injection import Provide


def empty() -> Iterator[str]:
    yield from ()


async def aempty() -> AsyncIterator[str]:
    for each in ():
        yield each


def twice() -> Iterator[str]:
    yield "first"
    yield "second"


async def atwice() -> AsyncIterator[str]:
    yield "first"
    yield "second"


def stubborn() -> Iterator[str]:
    try:
        yield "value"
    except ZeroDivisionError:
        yield "again"


async def astubborn() -> AsyncIterator[str]:
    try:
        yield "value"
    except ZeroDivisionError:
        yield "again"


def of(initialiser: Any) -> Any:
    return type("App", (containers.DeclarativeContainer,), {"db": providers.Resource(initialiser)})


def run(initialiser: Any, *, failing: bool = False, **options: Any) -> None:
    async def main() -> None:
        async with lifespan(of(initialiser), **options):
            if failing:
                raise ZeroDivisionError

    asyncio.run(main())


FIRST = "the initialiser of App.db"


@pytest.mark.parametrize("initialiser", [empty, contextmanager(empty), lambda: empty()])
@pytest.mark.parametrize("max_workers", [1, 2])
def test_one_that_yields_nothing_says_which_and_what_to_write(initialiser: Any, max_workers: int):
    expected = (
        rf"generator didn't yield: {FIRST}, empty \(.*{__file__}:\d+\) ended before a `yield`: write one `yield value`"
    )
    with pytest.raises(RuntimeError, match=expected), lifespan(of(initialiser), max_workers=max_workers):
        pass
    with pytest.raises(RuntimeError, match=expected):
        run(initialiser)


@pytest.mark.parametrize("initialiser", [twice, contextmanager(twice)])
def test_one_that_yields_again_says_which_and_what_to_write(initialiser: Any):
    expected = rf"generator didn't stop: {FIRST}, twice \(.*\) came to a second `yield` in line \d+: write one `yield`, outside any loop"
    with pytest.raises(RuntimeError, match=expected), lifespan(of(initialiser)):
        pass
    with pytest.raises(RuntimeError, match=expected):
        run(initialiser)


def test_one_that_yields_after_the_body_failed_is_told_in_a_note_of_that_failure():
    for initialiser in (stubborn, contextmanager(stubborn)):
        with pytest.raises(ZeroDivisionError) as raised, lifespan(of(initialiser)):
            raise ZeroDivisionError
        assert "write no `yield` into `except` or `finally`" in str(raised.value.__notes__)


@pytest.mark.parametrize(
    ("initialiser", "failing", "told"),
    [
        (aempty, False, "generator didn't yield"),
        (asynccontextmanager(aempty), False, "ended before a `yield`"),
        (atwice, False, "came to a second `yield` in line"),
        (asynccontextmanager(atwice), False, "outside any loop"),
        (astubborn, True, "write no `yield` into `except` or `finally`"),
    ],
)
def test_asynchronous_ones_say_the_same(initialiser: Any, failing: bool, told: str):
    with pytest.raises((RuntimeError, ZeroDivisionError)) as raised:
        run(initialiser, failing=failing)
    text = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", ())])
    assert told in text
    assert FIRST in text
    assert f"{__file__}:" in text


def test_a_task_resource_is_named_too():
    class App(containers.DeclarativeContainer):
        session = TaskResource(twice)

    @inject
    def use(session: str = Provide[App.session]) -> str:
        return session

    with pytest.raises(RuntimeError, match=r"the initialiser of .*App\.session, twice"), lifespan(App):
        use()
