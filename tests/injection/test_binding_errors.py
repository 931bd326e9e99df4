"""A call that the visible signature does not allow is refused before anything is opened for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan, override

opened: list[str] = []


def open_db() -> Iterator[str]:
    opened.append("db")
    yield "db"


class App(containers.DeclarativeContainer):
    db = providers.Resource(open_db)


@inject
def query(table: str, db: str = Provide[App.db]) -> str:
    return f"{table} in {db}"


@inject
async def aquery(table: str, db: str = Provide[App.db]) -> str:
    return f"{table} in {db}"


@pytest.fixture(autouse=True)
def nothing_opened() -> None:
    opened.clear()


def test_a_missing_argument_is_told_by_its_name_and_opens_nothing() -> None:
    with pytest.raises(TypeError, match="'table'"):
        query()  # pyright: ignore[reportCallIssue]
    assert opened == []


def test_one_argument_too_many_opens_nothing_in_a_coroutine_either() -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        asyncio.run(aquery("orders", "db", "more"))  # pyright: ignore[reportCallIssue]
    assert opened == []


@pytest.mark.parametrize("excess", range(1, 6))
def test_as_many_too_many_as_there_are_open_nothing_in_either(excess: int) -> None:
    more = ("more",) * excess
    with pytest.raises(TypeError, match=r"query\(\) .* positional arguments"):
        query("orders", *more)
    with pytest.raises(TypeError, match=r"aquery\(\) .* positional arguments"):
        asyncio.run(aquery("orders", *more))
    assert opened == []


def test_where_nothing_is_injected_one_too_many_is_told_as_python_has_it() -> None:
    @lifespan(App)
    def plain(table: str) -> str:
        return table

    with pytest.raises(TypeError, match=r"plain\(\) takes 1 positional argument but 2 were given$"):
        plain("orders", "more")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"too many positional arguments$"):
        inspect.signature(plain).bind("orders", "more")
    assert opened == []


def test_what_is_injected_is_told_where_an_override_stands_above_it() -> None:
    with pytest.raises(TypeError, match=r"too many positional arguments; db is injected"):
        inspect.signature(override(App, db="fake")(query)).bind("orders", "more")


def test_a_call_that_fits_opens_what_it_needs() -> None:
    assert query("orders") == "orders in db"
    assert opened == ["db"]
