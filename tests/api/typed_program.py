"""A user's program as type checkers see it: `test_types.py` has pyright check it strictly, and runs it."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type

from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan, override, resource


class Engine:
    name = "engine"


@resource(retries=2, open_timeout_seconds=5)
def open_engine(url: str) -> Iterator[Engine]:
    yield Engine()


class App(containers.DeclarativeContainer):
    engine = providers.Resource(open_engine, url="url")
    session: TaskResource[str] = TaskResource(lambda: "session")
    model: ProcessResource[str] = ProcessResource(lambda: "model")


@inject
def blocking(a: int, engine: Engine = Provide[App.engine]) -> str:
    return engine.name * a


@inject
async def coroutine(a: int, engine: Engine = Provide[App.engine]) -> str:
    return engine.name * a


@inject
def generator(a: int, engine: Engine = Provide[App.engine]) -> Generator[str, int, bool]:
    sent = yield engine.name
    return sent == a


@inject
async def asynchronous_generator(engine: Engine = Provide[App.engine]) -> AsyncGenerator[str, int]:
    yield engine.name


def for_the_run(a: int) -> dict[str, object]:
    return {"session": f"session of {a}"}


@lifespan(App, overrides=for_the_run, eager=[App.engine], on_close_error="warn")
def flow_function(a: int, engine: Engine = Provide[App.engine]) -> str:
    return engine.name * a


@override(App, engine=Engine())
def overridden(a: int) -> str:
    return blocking(a)


def types_survive() -> None:
    assert_type(blocking(1), str)
    assert_type(blocking(1, engine=Engine()), str)
    assert_type(flow_function(a=1), str)
    assert_type(overridden(1), str)
    assert_type(generator(1), Generator[str, int, bool])
    assert_type(asynchronous_generator(), AsyncGenerator[str, int])
    assert_type(open_engine("url"), Iterator[Engine])
    made: Callable[[int], Coroutine[Any, Any, str]] = coroutine
    assert callable(made)


with lifespan(App, overrides={"session": "s"}) as container:
    assert_type(container, App)

types_survive()
