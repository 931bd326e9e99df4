"""What cannot be overridden is refused where the override is written, in words."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import lifespan, override
from prefect_lifespan.errors import UsageError
from prefect_lifespan.testing import override_everywhere


class App(containers.DeclarativeContainer):
    in_files = providers.Factory("files at {}".format)
    store = providers.FactoryAggregate(files=in_files, memory=providers.Factory("memory at {}".format))
    choice = providers.Aggregate(files=in_files)


def enter(container: Any, overrides: Any) -> None:
    lifespan(container, overrides=overrides).__enter__()


WAYS = pytest.mark.parametrize("overriding", [override, override_everywhere, enter])


@WAYS
@pytest.mark.parametrize("key", [1, App.in_files, ("store", "files"), None])
def test_what_is_no_name(overriding: Callable[..., Any], key: Any):
    with pytest.raises(UsageError, match=r"overrides of App name .*; a provider goes by its path there, {'name': val"):
        overriding(App, {key: "fake"})


@WAYS
@pytest.mark.parametrize("path", ["store", "choice"])
@pytest.mark.parametrize("value", ["fake", providers.FactoryAggregate(files=providers.Factory(str))])
def test_an_aggregate(overriding: Callable[..., Any], path: str, value: Any):
    with pytest.raises(UsageError, match=rf"App\.{path} is a \w*Aggregate: .* the providers that it chooses among"):
        overriding(App, {path: value})


class Opened(containers.DeclarativeContainer):
    db = providers.Resource(object)
    made = providers.Factory(object)


def generator() -> Iterator[str]:
    yield "fake"


async def coroutine() -> str:
    return "fake"


async def asynchronous_generator() -> AsyncIterator[str]:
    yield "fake"


@WAYS
@pytest.mark.parametrize("function", [generator, coroutine, asynchronous_generator, contextmanager(generator)])
def test_a_function_that_opens_something_in_the_place_of_what_it_opens(overriding: Callable[..., Any], function: Any):
    with pytest.raises(
        UsageError, match=rf"Opened\.db is a resource, .* write providers\.Resource\({function.__name__}\)"
    ):
        overriding(Opened, {"db": function})
    with override(Opened, db=providers.Object(function), made=function), lifespan(Opened) as container:
        assert container.db() is container.made() is function


@WAYS
def test_a_partial_of_one_is_told_by_the_functions_name(overriding: Callable[..., Any]):
    with pytest.raises(UsageError, match=r"the function generator, .*write providers\.Resource\(generator\)"):
        overriding(Opened, {"db": partial(partial(generator))})


@pytest.mark.parametrize("mock", [AsyncMock(), MagicMock(), partial(AsyncMock())])
def test_a_mock_is_no_such_function_whatever_it_says(mock: Any):
    with override(Opened, db=mock), lifespan(Opened) as container:
        assert container.db() is mock


def test_what_an_aggregate_chooses_among_is_overridden_by_its_name():
    with override(App, in_files=providers.Factory("fake at {}".format)), lifespan(App) as container:
        assert container.store("files", "x") == "fake at x"
        assert container.choice("files", "x") == "fake at x"
        assert container.store("memory", "x") == "memory at x"
