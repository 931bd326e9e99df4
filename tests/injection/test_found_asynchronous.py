"""What turns out to be asynchronous when it opens is the call's own on another event loop, and nothing opens twice."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, Self

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Closing, LifespanClosedError, Provide, TaskResource, inject, lifespan, override

log: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> Iterator[None]:
    log.clear()
    yield
    log.clear()


class AsyncClient:
    """As httpx's: nothing says that it is asynchronous before it has been made."""

    async def __aenter__(self) -> Self:
        log.append("open client")
        return self

    async def __aexit__(self, *_: object) -> None:
        log.append("close client")


def make() -> AsyncClient:
    return AsyncClient()


def make_on(_: object) -> AsyncClient:
    return AsyncClient()


def session() -> Generator[str]:
    log.append("begin")
    try:
        yield "session"
    except BaseException as error:
        log.append(f"rollback {type(error).__name__}")
        raise
    log.append("commit")


class App(containers.DeclarativeContainer):
    session = TaskResource(session)
    client = providers.Resource(make)
    other = providers.Resource(make)
    on_other = providers.Resource(make_on, other)


@inject
async def work(
    session: str = Provide[App.session], client: AsyncClient = Provide[App.client], fail: bool = False
) -> str:
    if fail:
        raise ValueError
    return session


def lanes() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("lifespan")}


@pytest.mark.parametrize("fail", [False, True], ids=["well", "failed"])
def test_a_session_opens_and_closes_once_a_call_with_its_outcome(fail: bool) -> None:
    """That of the first try was never closed, and its thread was left."""
    before = lanes()
    with lifespan(App, eager=False):
        for _ in range(2):
            if fail:
                with pytest.raises(ValueError):
                    asyncio.run(work(fail=True))
            else:
                assert asyncio.run(work()) == "session"
            end = "rollback ValueError" if fail else "commit"
            assert log == ["begin", "open client", "close client", end]
            log.clear()
    assert lanes() <= before


@inject
async def with_closing(
    client: AsyncClient = Closing[Provide[App.client]], on_other: AsyncClient = Provide[App.on_other]
) -> str:
    return "done"


def test_several_are_found_in_one_call_and_each_opens_and_closes_once() -> None:
    """The second one told the coroutine function to become one."""
    with lifespan(App, eager=False):
        for _ in range(2):
            assert asyncio.run(with_closing()) == "done"
            assert (log.count("open client"), log.count("close client")) == (3, 3)
            log.clear()


# Late uses


async def adb() -> AsyncGenerator[str]:
    log.append("open adb")
    yield "adb"


class Late(containers.DeclarativeContainer):
    url = providers.Object("real")
    db = providers.Resource(session)
    repo = providers.Resource(lambda db, url: f"{db} at {url}", db, url)
    adb = providers.Resource(adb)
    of_task = TaskResource(session)


@inject
def use(repo: str = Provide[Late.repo]) -> str:
    return repo


@inject
async def use_async(adb: str = Provide[Late.adb]) -> str:
    return adb


@inject
async def use_of_task_async(of_task: str = Provide[Late.of_task]) -> str:
    return of_task


@inject
def use_of_task(of_task: str = Provide[Late.of_task]) -> str:
    return of_task


@inject
def use_closing(db: str = Closing[Provide[Late.db]]) -> str:
    return db


def in_an_override() -> str:
    with override(Late, url="fake"):
        return use()


def in_an_override_of_a_resource() -> str:
    with override(Late, db=providers.Resource(session)):
        return use()


LATE: dict[str, Callable[[], Any]] = {
    "use": use,
    "override": in_an_override,
    "override of a resource": in_an_override_of_a_resource,
    "another loop": lambda: asyncio.run(use_async()),
    "task resource": use_of_task,
    "task resource on another loop": lambda: asyncio.run(use_of_task_async()),
    "closing": use_closing,
}


@pytest.mark.parametrize("late", LATE)
def test_a_late_use_is_refused_by_the_name_of_its_lifespan_and_nothing_opens_again(late: str) -> None:
    async def main() -> contextvars.Context:
        async with lifespan(Late):
            return contextvars.copy_context()

    context = asyncio.run(main())
    log.clear()
    with pytest.raises(LifespanClosedError, match=r"`async with lifespan\(Late\)` had closed"):
        context.run(LATE[late])
    assert log == []


@pytest.mark.parametrize("workers", [1, 4])
def test_an_initialisers_timeout_error_keeps_identity_cause_and_traceback(workers: int) -> None:
    """A lane on an event loop made another of it."""
    original = TimeoutError("connect to db:5432")

    def connect() -> None:
        raise original from OSError("the real cause")

    class Failing(containers.DeclarativeContainer):
        db = providers.Resource(connect)

    async def main() -> None:
        with pytest.raises(TimeoutError) as raised:
            async with lifespan(Failing, max_workers=workers):
                pass
        assert raised.value is original
        assert isinstance(original.__cause__, OSError)
        assert any(entry.name == "connect" for entry in raised.traceback)

    asyncio.run(main())
