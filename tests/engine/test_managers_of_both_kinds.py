"""Managers that are blocking and asynchronous at once, mocks among them: how they are entered, with a loop and without."""

from collections.abc import Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from dependency_injector import providers

from tests.engine.support import aopen_all, async_engine_of, declare, engine_of, open_all, run

closed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_closed() -> Iterator[None]:
    closed.clear()
    yield
    closed.clear()


class Both:
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        closed.append(self.name)

    async def __aenter__(self) -> str:
        return f"async {self.name}"

    async def __aexit__(self, *_: object) -> None:
        closed.append(f"async {self.name}")


class MadeBlocking(Both):
    """As Dask's clusters and clients are outside a coroutine: both kinds are there, and only one can be used."""

    asynchronous = False


class RefusesTheLoop(Both):
    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(name)
        self.error = error

    async def __aenter__(self) -> str:
        raise self.error


@pytest.mark.parametrize(
    "made",
    [
        lambda: MadeBlocking("a"),
        lambda: RefusesTheLoop("a", RuntimeError("it was made blocking")),
        lambda: RefusesTheLoop("a", TypeError("use `with` instead")),
        lambda: RefusesTheLoop("a", AssertionError("only an asynchronous transport is allowed")),
    ],
)
@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_a_manager_of_both_kinds_that_is_none_for_an_event_loop_is_entered_without(made: Any, kind: str) -> None:
    async def later() -> Any:
        return made()

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(made if kind == "function" else later)))
        assert (await aopen_all(engine)).a() == "a"
        (await engine.aclose()).settle()

    run(main)
    assert closed == ["a"]


def test_a_manager_that_refuses_both_raises_what_it_said_on_the_loop() -> None:
    class Refuses(RefusesTheLoop):
        def __enter__(self) -> str:
            raise OSError

    async def main() -> None:
        engine = async_engine_of(
            declare(a=providers.Resource(Refuses, "a", providers.Object(RuntimeError("not here"))))
        )
        with pytest.raises(RuntimeError, match="not here"):
            await aopen_all(engine)
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize(
    "initialiser", [MagicMock, MagicMock(), lambda: MagicMock()], ids=["class", "mock", "function"]
)
def test_a_magic_mock_is_entered_as_dependency_injector_does_with_a_loop_and_without(initialiser: Any) -> None:
    """It answers to both kinds, and to `os.fspath`: it was taken for a path, which is no manager, and for asynchronous."""
    mocks: list[Any] = []

    def open_mock() -> Any:
        mocks.append(initialiser())
        return mocks[-1]

    blocking = engine_of(declare(a=providers.Resource(open_mock)))
    assert open_all(blocking).a() is mocks[0].__enter__.return_value
    blocking.close().settle()

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(open_mock)))
        container: Any = engine.instance
        assert container.a() is mocks[1].__enter__.return_value
        (await engine.aclose()).settle()

    run(main)
    for mock in mocks:
        mock.__exit__.assert_called_with(None, None, None)


@pytest.mark.parametrize("initialiser", [Mock, Mock(), lambda: Mock()], ids=["class", "mock", "function"])
def test_a_mock_is_a_plain_value(initialiser: Any) -> None:
    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(initialiser)))
        container: Any = engine.instance
        assert isinstance(container.a(), Mock)
        (await engine.aclose()).settle()

    run(main)


def test_an_async_mock_is_an_initialiser_that_is_awaited() -> None:
    fake = object()

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(AsyncMock(return_value=fake))))
        assert (await aopen_all(engine)).a() is fake
        (await engine.aclose()).settle()

    run(main)
