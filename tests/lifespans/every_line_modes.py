"""What `every_line` tries: lifespans in each way, with a list of what they have opened and closed."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Self, cast
from uuid import uuid4

from dependency_injector import containers, providers
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from prefect_lifespan import ProcessResource, Provide, TaskResource, carried, inject, lifespan
from prefect_lifespan.observability import report
from prefect_lifespan.testing import Faults, override_everywhere, recording

opened: list[str] = []
closed: list[str] = []
failed_beside: list[str] = []  # in threads and callbacks, where nobody else would hear of it


class Refused(Exception):
    """What an initialiser raises."""


class Connection:
    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    def __enter__(self) -> Any:
        opened.append(self.name)
        return self

    def __exit__(self, *_: object) -> None:
        closed.append(self.name)


class AsyncConnection:
    def __init__(self, name: str, *_: object) -> None:
        self.name = name

    async def __aenter__(self) -> Any:
        await asyncio.sleep(0)
        opened.append(self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        closed.append(self.name)
        await asyncio.sleep(0)


def refusing(*_: object) -> None:
    raise Refused


async def arefusing(*_: object) -> None:
    await asyncio.sleep(0)
    raise Refused


class App(containers.DeclarativeContainer):
    a = providers.Resource(Connection, "a")
    b = providers.Resource(Connection, "b", a)
    c = providers.Resource(Connection, "c")
    model = ProcessResource(Connection, "model")
    session = TaskResource(Connection, "session", b, model)


class Failing(containers.DeclarativeContainer):
    a = providers.Resource(Connection, "a")
    b = providers.Resource(refusing, a)


class AsyncApp(containers.DeclarativeContainer):
    a = providers.Resource(AsyncConnection, "a")
    b = providers.Resource(AsyncConnection, "b", a)
    c = providers.Resource(AsyncConnection, "c")
    s = providers.Resource(Connection, "s", b)
    session = TaskResource(AsyncConnection, "session", b)


class AsyncShared(containers.DeclarativeContainer):
    model = ProcessResource(Connection, "model")
    a = providers.Resource(AsyncConnection, "a", model)


class AsyncFailing(containers.DeclarativeContainer):
    a = providers.Resource(AsyncConnection, "a")
    c = providers.Resource(AsyncConnection, "c")
    b = providers.Resource(arefusing, a)


@inject
def use(session: Any = Provide[App.session]) -> None: ...


@inject
def ask(c: Any = Provide[App.c]) -> None: ...


@inject
def ask_slowly(begun: threading.Event, c: Any = Provide[App.c]) -> None:
    begun.set()
    time.sleep(0.02)


@lifespan(App)
def decorated() -> None:
    use()


def with_block() -> None:
    with lifespan(App):
        use()


def joined() -> None:
    with lifespan(App):
        decorated()


def first_use() -> None:
    with lifespan(App, eager=False):
        ask()
        use()


def in_flight() -> None:
    begun, calling = threading.Event(), list[threading.Thread]()
    try:
        with lifespan(App):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(ask_slowly, begun), daemon=True)
            thread.start()
            calling.append(thread)
            begun.wait()
    finally:
        for each in calling:  # its end may be told where an exception has left a lock taken
            each.join()


def lanes() -> None:
    with lifespan(App, max_workers=3):
        use()


def failing() -> None:
    with suppress(Refused), lifespan(Failing):
        pass


@inject
async def ause(session: Any = Provide[AsyncApp.session]) -> None: ...


@inject
async def aask(c: Any = Provide[AsyncApp.c]) -> None: ...


@inject
async def aask_slowly(c: Any = Provide[AsyncApp.c]) -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@lifespan(AsyncApp)
async def adecorated() -> None:
    await ause()


async def async_with_block() -> None:
    async with lifespan(AsyncApp):
        await ause()


async def async_joined() -> None:
    async with lifespan(AsyncApp):
        await adecorated()


async def async_first_use() -> None:
    async with lifespan(AsyncApp, eager=False):
        await aask()
        await ause()


async def async_in_flight() -> None:
    async with lifespan(AsyncApp):
        calling = asyncio.create_task(aask_slowly())
    await calling


async def async_lanes() -> None:
    async with lifespan(AsyncApp, max_workers=3):
        await ause()


async def async_shared() -> None:
    async with lifespan(AsyncShared):
        pass


async def async_failing() -> None:
    with suppress(Refused):
        async with lifespan(AsyncFailing):
            pass


@inject
def use_in_steps(session: Any = Provide[App.session]) -> Iterator[Any]:
    yield session


@lifespan(App)
def decorated_steps() -> Iterator[Any]:
    yield from use_in_steps()


def generator() -> None:
    for _ in decorated_steps():
        pass


@inject
async def ause_in_steps(session: Any = Provide[AsyncApp.session]) -> AsyncIterator[Any]:
    yield session


@lifespan(AsyncApp)
async def adecorated_steps() -> AsyncIterator[Any]:
    async for session in ause_in_steps():
        yield session


async def async_generator() -> None:
    async for _ in adecorated_steps():
        pass


def in_other_scopes() -> None:
    with lifespan(App):
        carried(use)()


def everywhere() -> None:
    with lifespan(App, everywhere=True):
        use()


def in_a_test() -> None:
    with override_everywhere(App, c=Connection("fake")), Faults(App), recording(App):
        pass


class Api:
    """Takes a report as a client of Prefect's does, and asks no server."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def create_artifact(self, _: object) -> None: ...


cast("Any", report).get_client = lambda **_: Api()


def in_a_run(function: Callable[[], None]) -> Callable[[], None]:
    """What is seen of a lifespan is seen of a run: its events, its totals and its report."""

    def run() -> None:
        flow_run, task_runner = FlowRun(flow_id=uuid4(), name="seen"), ThreadPoolTaskRunner[Any]()
        with FlowRunContext.model_construct(flow_run=flow_run, task_runner=task_runner):
            function()

    return run


def reported() -> None:
    with lifespan(App, report=True):
        use()


async def async_reported() -> None:
    async with lifespan(AsyncApp, report=True):
        await ause()


def on_a_loop(function: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    return lambda: asyncio.run(function())


MODES: dict[str, Callable[[], None]] = {
    "with": with_block,
    "decorated": decorated,
    "call": use,
    "joined": joined,
    "first_use": first_use,
    "in_flight": in_flight,
    "lanes": lanes,
    "failing": failing,
    "generator": generator,
    "carried": in_other_scopes,
    "everywhere": everywhere,
    "in_a_test": in_a_test,
    "reported": in_a_run(reported),
    "async_with": on_a_loop(async_with_block),
    "async_decorated": on_a_loop(adecorated),
    "async_call": on_a_loop(ause),
    "async_joined": on_a_loop(async_joined),
    "async_first_use": on_a_loop(async_first_use),
    "async_in_flight": on_a_loop(async_in_flight),
    "async_lanes": on_a_loop(async_lanes),
    "async_failing": on_a_loop(async_failing),
    "async_shared": on_a_loop(async_shared),
    "async_generator": on_a_loop(async_generator),
    "async_reported": in_a_run(on_a_loop(async_reported)),
}

# What lives as long as the process closes with the outermost block; where there is none, with the process.
WITHOUT_A_BLOCK = (use, decorated, generator)


def close_the_model() -> None:
    """What these have left open for the next one."""
    with lifespan(App, eager=[App.model]):
        pass
