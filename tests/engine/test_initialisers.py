"""Every kind of initialiser becomes a value while open, and is exited once."""

import asyncio
import functools
import logging.config
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.abc
import pytest
from dependency_injector import providers, resources

from prefect_lifespan.engine.logging_setups import logging_setups
from prefect_lifespan.errors import AsyncResourceError, LifespanError
from tests.engine.support import aopen_all, apoll, async_engine_of, declare, engine_of, open_all, run

closed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_closed() -> Iterator[None]:
    closed.clear()
    yield
    closed.clear()


def generator(name: str) -> Generator[str]:
    yield name
    closed.append(name)


async def async_generator(name: str) -> AsyncGenerator[str]:
    yield name
    closed.append(name)


@contextmanager
def manager(name: str) -> Iterator[str]:
    yield name
    closed.append(name)


@asynccontextmanager
async def async_manager(name: str) -> AsyncIterator[str]:
    yield name
    closed.append(name)


class ResourceClass(resources.Resource[str]):
    def init(self, *args: Any, **kwargs: Any) -> str:
        return args[0]

    def shutdown(self, resource: str | None) -> None:
        closed.append(str(resource))


class AsyncResourceClass(resources.AsyncResource[str]):
    async def init(self, *args: Any, **kwargs: Any) -> str:
        return args[0]

    async def shutdown(self, resource: str | None) -> None:
        closed.append(str(resource))


class Manager:
    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        closed.append(self.name)


class AsyncManager:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __aenter__(self) -> str:
        return self.name

    async def __aexit__(self, *_: object) -> None:
        closed.append(self.name)


class CallableObject:
    def __call__(self, name: str) -> Generator[str]:
        yield name
        closed.append(name)


class AsyncCallableObject:
    async def __call__(self, name: str) -> AsyncGenerator[str]:
        yield name
        closed.append(name)


async def coroutine(name: str) -> str:
    return name


async def coroutine_of_manager(name: str) -> AsyncManager:
    return AsyncManager(name)


def plain(name: str) -> str:
    return name


class Session:
    generator = staticmethod(generator)
    async_generator = staticmethod(async_generator)


BLOCKING = {
    "generator function": generator,
    "contextmanager": manager,
    "resource class": ResourceClass,
    "class that is a context manager": Manager,
    "function that returns a context manager": lambda name: Manager(name),
    "partial of a generator function": functools.partial(generator),
    "callable object with a generator": CallableObject(),
    "provided chain": providers.Singleton(Session).provided.generator.call(),
    "provided chain of an object": providers.Object({"open": generator}).provided["open"].call(),
    "factory": providers.Factory(Manager),
    "callable provider": providers.Callable(generator),
}
ASYNCHRONOUS = {
    "async generator function": async_generator,
    "asynccontextmanager": async_manager,
    "async resource class": AsyncResourceClass,
    "class that is an async context manager": AsyncManager,
    "function that returns an async context manager": lambda name: AsyncManager(name),
    "coroutine function that returns one": coroutine_of_manager,
    "partial of an async generator function": functools.partial(async_generator),
    "callable object with an async generator": AsyncCallableObject(),
    "provided chain to an async one": providers.Singleton(Session).provided.async_generator.call(),
    "callable provider of an async one": providers.Callable(async_generator),
}
ONLY_VALUES: dict[str, Any] = {"plain function": plain, "coroutine function": coroutine}


@pytest.mark.parametrize("kind", BLOCKING)
def test_a_blocking_kind_opens_and_closes_without_an_event_loop(kind: str) -> None:
    engine = engine_of(declare(a=providers.Resource(BLOCKING[kind], "a")))
    assert open_all(engine).a() == "a"
    assert closed == []
    engine.close().settle()
    assert closed == ["a"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", [*BLOCKING, *ASYNCHRONOUS])
def test_every_kind_opens_and_closes_on_an_event_loop(kind: str, workers: int) -> None:
    async def main() -> None:
        initialiser = {**BLOCKING, **ASYNCHRONOUS}[kind]
        engine = async_engine_of(declare(a=providers.Resource(initialiser, "a")), max_workers=workers)
        assert (await aopen_all(engine)).a() == "a"
        assert closed == []
        (await engine.aclose()).settle()

    run(main)
    assert closed == ["a"]


@pytest.mark.parametrize("kind", ONLY_VALUES)
def test_a_function_that_only_gives_a_value_has_nothing_to_close(kind: str) -> None:
    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(ONLY_VALUES[kind], "a")))
        assert (await aopen_all(engine)).a() == "a"
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("kind", ASYNCHRONOUS)
def test_an_async_kind_without_an_event_loop_is_an_async_resource_error_that_names_it(kind: str) -> None:
    engine = engine_of(declare(a=providers.Resource(ASYNCHRONOUS[kind], "a")))
    with pytest.raises(AsyncResourceError, match=r"The run cannot open App\.a"):
        open_all(engine)
    engine.close().settle()
    assert closed == []


def test_nothing_is_opened_when_one_resource_turns_out_to_need_an_event_loop() -> None:
    engine = engine_of(declare(a=providers.Resource(generator, "a"), b=providers.Resource(async_generator, "b")))
    with pytest.raises(AsyncResourceError):
        open_all(engine)
    assert not engine.schedule.opened


class Both(Manager):
    async def __aenter__(self) -> str:
        return f"async {self.name}"

    async def __aexit__(self, *_: object) -> None:
        closed.append(f"async {self.name}")


@pytest.mark.parametrize("initialiser", [Both, lambda name: Both(name)], ids=["class", "function"])
def test_a_manager_of_both_kinds_is_entered_as_the_lifespan_can(initialiser: Any) -> None:
    blocking = engine_of(declare(a=providers.Resource(initialiser, "a")))
    assert open_all(blocking).a() == "a"
    blocking.close().settle()

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(initialiser, "a")))
        assert (await aopen_all(engine)).a() == "async a"
        (await engine.aclose()).settle()

    run(main)
    assert closed == ["a", "async a"]


def test_a_generator_that_a_plain_function_returns_is_entered_as_a_generator_function_is() -> None:
    """Python 3.11's asyncio takes a generator for a coroutine, so this is looked at first."""
    engine = engine_of(declare(a=providers.Resource(lambda: (n for n in (1,)))))
    assert open_all(engine).a() == 1
    engine.close().settle()


def test_async_providers_as_arguments_are_awaited_before_the_initialiser_is_called() -> None:
    async def main() -> None:
        number = providers.Coroutine(coroutine, "number")
        engine = async_engine_of(
            declare(
                a=providers.Resource(generator, number),
                b=providers.Resource(async_generator, number),
                c=providers.Resource(lambda text: text.upper(), number),
            )
        )
        container = await aopen_all(engine)
        # A blocking generator cannot wait for its argument: its function is called when that is there.
        assert [container.b(), container.c()] == ["number", "NUMBER"]
        assert container.a() == "number"
        (await engine.aclose()).settle()

    run(main)
    assert sorted(closed) == ["number", "number"]


def test_an_anyio_task_group_is_a_resource_entered_and_exited_in_one_task() -> None:
    tasks: list[Any] = []

    @asynccontextmanager
    async def background() -> AsyncIterator[anyio.abc.TaskGroup]:
        tasks.append(asyncio.current_task())
        async with anyio.create_task_group() as group:
            yield group
            tasks.append(asyncio.current_task())
            group.cancel_scope.cancel()

    async def main() -> None:
        engine = async_engine_of(declare(group=providers.Resource(background)))
        container = await aopen_all(engine)
        started = anyio.Event()

        async def child() -> None:
            started.set()
            await anyio.sleep_forever()

        container.group().start_soon(child)
        await started.wait()
        (await engine.aclose()).settle()

    run(main)
    assert tasks[0] is tasks[1] is not None


def test_a_task_group_that_lets_the_bodys_exception_through_has_closed_well() -> None:
    """It wraps it in a group, which was reported as a failed close."""

    @asynccontextmanager
    async def background() -> AsyncIterator[object]:
        async with anyio.create_task_group() as group:
            yield group

    async def main() -> None:
        events: list[Any] = []
        engine = async_engine_of(declare(group=providers.Resource(background)), events=events)
        await aopen_all(engine)
        outcome = ValueError("of the body")
        (await engine.aclose(outcome)).settle()
        assert [event.kind for event in events] == ["opened", "closed"]
        assert not hasattr(outcome, "__notes__")

    run(main)


def test_a_task_group_whose_child_fails_ends_at_once_and_its_error_is_reported_on_closing() -> None:
    @asynccontextmanager
    async def background() -> AsyncIterator[anyio.abc.TaskGroup]:
        async with anyio.create_task_group() as group:
            yield group

    async def failing() -> None:
        raise OSError("child")

    async def main() -> None:
        engine = async_engine_of(declare(group=providers.Resource(background)))
        container = await aopen_all(engine)
        container.group().start_soon(failing)
        await apoll(lambda: not container.group.initialized, "the group is out of use")
        with pytest.raises(LifespanError):
            container.group()
        with pytest.raises(ExceptionGroup) as raised:
            (await engine.aclose()).settle()
        assert raised.group_contains(OSError, match="child")

    run(main)


def test_a_cancel_scope_as_a_resource_ends_when_it_is_cancelled() -> None:
    @asynccontextmanager
    async def scope() -> AsyncIterator[anyio.CancelScope]:
        with anyio.CancelScope() as cancel_scope:
            yield cancel_scope

    async def main() -> None:
        engine = async_engine_of(declare(scope=providers.Resource(scope)))
        container = await aopen_all(engine)
        container.scope().cancel()
        await apoll(lambda: not container.scope.initialized, "the scope has ended")
        (await engine.aclose()).settle()

    run(main)


def sets_up_logging(*, really: bool = False) -> Iterator[None]:
    if really:
        logging.config.dictConfig({"version": 1})
    yield


def test_what_sets_up_logging_is_told_of_before_it_is_called_also_where_only_the_instance_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(logging_setups, "before", lambda resource, function: told.append(f"{resource}: {function}"))
    engine = engine_of(declare(a=providers.Resource(sets_up_logging), b=providers.Resource(generator, "b")))
    instance: Any = engine.instance
    instance.a()
    instance.b.set_provides(sets_up_logging).clear_args()
    instance.b()
    assert told == [f"App.{name}: logging.config.dictConfig" for name in "ab"]
    engine.close().settle()
