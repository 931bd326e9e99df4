"""Asynchronous providers and event loops: awaited for asynchronous functions, refused with a cure for blocking ones."""

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import AsyncResourceError, Provide, inject, lifespan, resource


async def make() -> object:
    await asyncio.sleep(0)
    return object()


class Connection:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed_on: asyncio.AbstractEventLoop | None = None


async def connect() -> AsyncIterator[Connection]:
    connection = Connection()
    yield connection
    connection.closed_on = asyncio.get_running_loop()


@resource(loop_bound=False)
async def fetch_token() -> AsyncIterator[object]:
    yield object()


class App(containers.DeclarativeContainer):
    singleton = providers.Singleton(make)
    factory = providers.Factory(make)
    coroutine = providers.Coroutine(make)
    service = providers.Factory(dict, part=singleton)
    connection = providers.Resource(connect)
    token = providers.Resource(fetch_token)


@inject
async def everything(
    singleton: Any = Provide[App.singleton],
    factory: Any = Provide[App.factory],
    coroutine: Any = Provide[App.coroutine],
    service: Any = Provide[App.service],
) -> tuple[Any, ...]:
    return singleton, factory, coroutine, service


@inject
async def use(connection: Connection = Provide[App.connection]) -> Connection:
    return connection


@inject
def use_blocking(connection: Connection = Provide[App.connection]) -> Connection:
    return connection


@inject
async def token_of(token: object = Provide[App.token]) -> object:
    return token


class Client:
    """As httpx.AsyncClient: to be entered by whoever uses it, where that is on an event loop."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@asynccontextmanager
async def transaction() -> AsyncIterator[str]:
    yield "begun"


async def rows() -> AsyncIterator[int]:
    yield 1


class Clients(containers.DeclarativeContainer):
    client = providers.Factory(Client)
    shared = providers.Singleton(Client)
    opened = providers.Callable(functools.partial(Client))
    transaction = providers.Callable(transaction)
    rows = providers.Factory(rows)
    service = providers.Factory(dict, client=client, shared=shared, transaction=transaction, rows=rows)


@inject
def clients(
    client: Any = Provide[Clients.client],
    shared: Any = Provide[Clients.shared],
    opened: Any = Provide[Clients.opened],
    transaction: Any = Provide[Clients.transaction],
    rows: Any = Provide[Clients.rows],
    service: Any = Provide[Clients.service],
) -> list[Any]:
    return [client, shared, opened, transaction, rows, service, *service.values()]


def on_another_loop(coroutine: Any) -> Any:
    """Run a coroutine in a thread with an event loop of its own, in this context."""
    return asyncio.to_thread(asyncio.run, coroutine)


def test_an_asynchronous_function_gets_values_awaited():
    async def main() -> None:
        async with lifespan(App):
            first, second = await everything(), await everything()
        assert [type(value) for value in first] == [object, object, object, dict]
        assert first[0] is second[0] is first[3]["part"], "a singleton is made once"
        assert first[1] is not second[1]
        assert first[2] is not second[2]

    asyncio.run(main())


@pytest.mark.parametrize("name", ["singleton", "factory", "coroutine", "service"])
def test_a_blocking_function_without_a_loop_is_told_what_to_do(name: str):
    @inject
    def blocking(value: Any = Provide[App.providers[name]]) -> Any:
        return value

    with lifespan(App, eager=False), pytest.raises(AsyncResourceError, match="async def"):
        blocking()


@pytest.mark.parametrize("name", ["singleton", "factory", "coroutine", "service"])
def test_a_blocking_function_on_a_loop_is_refused_and_spoils_nothing(name: str):
    @inject
    def blocking(value: Any = Provide[App.providers[name]]) -> Any:
        return value

    @inject
    async def asynchronous(value: Any = Provide[App.providers[name]]) -> Any:
        return value

    async def main() -> None:
        async with lifespan(App):
            with pytest.raises(AsyncResourceError, match=r"blocking cannot open value.*async def"):
                blocking()
            assert await asynchronous() is not None

    asyncio.run(main())


def test_a_blocking_function_gets_a_singleton_that_has_been_made():
    @inject
    def blocking(value: Any = Provide[App.singleton]) -> Any:
        return value

    async def main() -> None:
        async with lifespan(App):
            made, *_ = await everything()
            assert blocking() is made
            assert blocking() is made

    asyncio.run(main())


def test_an_open_asynchronous_resource_is_its_value_for_blocking_functions_everywhere():
    async def main() -> None:
        async with lifespan(App) as container:
            connection = container.connection()
            assert use_blocking() is connection
            assert await asyncio.to_thread(use_blocking) is connection

    asyncio.run(main())


def test_a_blocking_function_that_would_have_to_open_one_is_told_what_to_do():
    with pytest.raises(AsyncResourceError) as outside:
        use_blocking()
    assert "use_blocking cannot open App.connection" in str(outside.value)
    assert outside.value.resources == ("App.connection",)

    async def main() -> None:
        async with lifespan(App, eager=False):
            for call in (asyncio.to_thread(use_blocking), on_loop()):
                with pytest.raises(AsyncResourceError, match=r"App\.connection"):
                    await call
            assert isinstance(await use(), Connection), "nothing is spoilt for those who can open it"

    async def on_loop() -> Any:
        return use_blocking()

    asyncio.run(main())


def test_a_function_on_another_loop_gets_an_instance_of_its_own_closed_there():
    async def main() -> None:
        async with lifespan(App):
            mine = await use()
            theirs, again = await asyncio.gather(on_another_loop(use()), on_another_loop(use()))
            assert len({id(mine), id(theirs), id(again)}) == 3
            assert theirs.loop is theirs.closed_on is not mine.loop
            assert mine.closed_on is None
        assert mine.closed_on is mine.loop

    asyncio.run(main())


def test_helpers_on_another_loop_share_the_instance_of_the_call():
    @inject
    async def outer(connection: Connection = Provide[App.connection]) -> bool:
        return await use() is connection and await use() is connection

    async def main() -> None:
        async with lifespan(App):
            assert await outer()
            assert await on_another_loop(outer())

    asyncio.run(main())


def test_what_is_not_bound_to_a_loop_is_shared():
    async def main() -> None:
        async with lifespan(App):
            mine = await token_of()
            assert await on_another_loop(token_of()) is mine

    asyncio.run(main())


def test_a_call_prepared_on_one_loop_is_decided_anew_on_another():
    threads: set[int] = set()

    @inject
    async def same_loop(connection: Connection = Provide[App.connection]) -> bool:
        threads.add(threading.get_ident())
        return connection.loop is asyncio.get_running_loop()

    async def main() -> None:
        async with lifespan(App):
            results = [await same_loop(), await same_loop()]
            results += [await on_another_loop(same_loop()), await same_loop()]
        assert results == [True] * 4

    asyncio.run(main())
    assert len(threads) == 2


def test_what_is_bound_to_no_loop_and_not_open_opens_for_an_asynchronous_function_under_a_blocking_lifespan():
    with lifespan(App, eager=False):
        assert type(asyncio.run(token_of())) is object


async def asked_in_a_thread() -> list[Any]:
    return await asyncio.to_thread(clients)


async def asked_on_the_loop() -> list[Any]:
    return clients()


@pytest.mark.parametrize("asked", [(asked_in_a_thread, asked_on_the_loop), (asked_on_the_loop, asked_in_a_thread)])
def test_an_object_that_can_be_entered_on_a_loop_is_just_an_object_for_whoever_asks_first(asked: Any) -> None:
    """A synchronous function in a thread was refused what a factory makes of such a class."""

    async def main() -> None:
        async with lifespan(Clients):
            first, second = [await ask() for ask in asked]
        for values in (first, second):
            kinds = [type(value).__name__ for value in values]
            assert kinds[:6] == [
                "Client",
                "Client",
                "Client",
                "_AsyncGeneratorContextManager",
                "async_generator",
                "dict",
            ]
        assert first[1] is second[1]

    asyncio.run(main())


@pytest.mark.parametrize("block", [lambda: lifespan(Clients), contextlib.nullcontext], ids=["in a lifespan", "outside"])
def test_the_same_without_any_event_loop(block: Callable[[], Any]) -> None:
    with block():
        assert isinstance(clients()[5]["client"], Client)
