"""`carried(function)` for threads that context variables do not reach; where it is missing, a warning says so."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import (
    LifespanClosedError,
    Provide,
    TaskResource,
    UsageError,
    carried,
    inject,
    lifespan,
    override,
)
from tests.lifespans.witness import SECONDS, Handle, Witness


class Seen:
    """What each call of an injected function was given."""

    def __init__(self, witness: Witness) -> None:
        class App(containers.DeclarativeContainer):
            db = providers.Resource(witness.blocking, "db")
            session = TaskResource(witness.blocking, "session")

        @inject
        def ask(n: int = 0, *, db: Handle = Provide[App.db]) -> tuple[int, Handle]:
            """Ask."""
            return n, db

        @inject
        def ask_session(session: Handle = Provide[App.session]) -> Handle:
            return session

        self.App, self.ask, self.ask_session = App, ask, ask_session


@pytest.fixture
def seen(witness: Witness) -> Seen:
    return Seen(witness)


def test_a_pool_of_threads_gets_what_is_open_here(seen: Seen) -> None:
    with lifespan(seen.App) as container, ThreadPoolExecutor(2) as pool:
        assert list(pool.map(carried(seen.ask), [1, 2])) == [(1, container.db()), (2, container.db())]


def test_a_thread_of_ones_own_does(seen: Seen) -> None:
    found: list[Any] = []
    with lifespan(seen.App) as container:
        thread = threading.Thread(target=carried(lambda: found.append(seen.ask())))
        thread.start()
        thread.join(SECONDS)
        assert found == [(0, container.db())]


def test_an_executor_of_an_event_loop_does(seen: Seen) -> None:
    async def main() -> None:
        async with lifespan(seen.App) as container:
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, carried(seen.ask), 3) == (3, container.db())

    asyncio.run(main())


def test_the_overrides_that_are_in_force_here_are_carried(seen: Seen) -> None:
    with ThreadPoolExecutor(1) as pool, lifespan(seen.App), override(seen.App, db="a fake"):
        asked = carried(seen.ask)
        assert pool.submit(asked).result(SECONDS) == (0, "a fake")


def test_it_keeps_its_name_its_signature_and_its_kind(seen: Seen) -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def asynchronous_generator() -> AsyncIterator[int]:
        yield 1

    asked = carried(seen.ask)
    assert (asked.__name__, asked.__doc__, list(inspect.signature(asked).parameters)) == ("ask", "Ask.", ["n"])
    assert inspect.iscoroutinefunction(carried(coroutine))
    assert inspect.isgeneratorfunction(carried(generator))
    assert inspect.isasyncgenfunction(carried(asynchronous_generator))


@pytest.mark.parametrize("kind", ["coroutine", "generator", "asynchronous generator", "partial", "method", "object"])
def test_functions_of_every_kind_are_carried(seen: Seen, kind: str) -> None:
    ask = seen.ask

    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return ask()

    def generator() -> Iterator[Any]:
        yield ask()

    async def asynchronous_generator() -> AsyncIterator[Any]:
        yield ask()

    class Asking:
        def method(self) -> Any:
            return ask()

        __call__ = method

    async def last_of(values: AsyncIterator[Any]) -> Any:
        return [value async for value in values][-1]

    with lifespan(seen.App) as container, ThreadPoolExecutor(1) as pool:
        asked: Any = {
            "coroutine": lambda f=carried(coroutine): asyncio.run(f()),
            "generator": lambda f=carried(generator): next(f()),
            "asynchronous generator": lambda f=carried(asynchronous_generator): asyncio.run(last_of(f())),
            "partial": carried(functools.partial(ask, 0)),
            "method": carried(Asking().method),
            "object": carried(Asking()),
        }[kind]
        assert pool.submit(asked).result(SECONDS) == (0, container.db())


def test_the_thread_goes_on_without_it_between_the_steps_of_a_generator(seen: Seen) -> None:
    def generator() -> Iterator[Any]:
        yield seen.ask()
        yield seen.ask()

    def steps(carrying: Iterator[Any]) -> list[bool]:
        inside, outside = [], []
        for _, db in carrying:
            inside.append(db.is_open)
            outside.append(seen.ask()[1].is_open)  # opened for the call
        return inside + outside

    with lifespan(seen.App), ThreadPoolExecutor(1) as pool:
        assert pool.submit(steps, carried(generator)()).result(SECONDS) == [True, True, False, False]


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(UsageError, match="takes a function, not a int"):
        carried(3)  # pyright: ignore[reportArgumentType]


def test_what_was_bound_before_there_was_a_lifespan_says_so(seen: Seen) -> None:
    bound = carried(seen.ask)
    assert bound(1)[0] == 1
    with lifespan(seen.App), ThreadPoolExecutor() as pool:
        assert pool.submit(bound).result()[0] == 0, "nor is there one where it is called"
        with pytest.raises(UsageError, match="call carried\\(\\) in the lifespan"):
            bound()


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_call_after_the_lifespan_has_ended_says_so(seen: Seen, witness: Witness, everywhere: bool) -> None:
    with lifespan(seen.App, everywhere=everywhere):
        asked = carried(seen.ask)
        plain = carried(len)
    with ThreadPoolExecutor(1) as pool:
        calls: list[tuple[Any, tuple[Any, ...]]] = [(asked, ()), (plain, ([],))]
        for late, args in calls:
            with pytest.raises(LifespanClosedError, match=r"carried.* after the lifespan of `with lifespan"):
                pool.submit(late, *args).result(SECONDS)
    assert witness.count("open db") == 1


def test_helpers_in_threads_share_the_task_resource_of_the_call_that_carries_them(seen: Seen, witness: Witness) -> None:
    @inject
    def work(session: Handle = Provide[seen.App.session]) -> list[Handle]:
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(carried(seen.ask_session)) for _ in range(2)]
            return [session, *(future.result(SECONDS) for future in futures)]

    with lifespan(seen.App):
        assert len(set(work())) == 1
    assert witness.count("open session") == witness.count("close session") == 1


def test_a_late_helper_does_not_open_a_task_resource_that_nobody_would_close(seen: Seen, witness: Witness) -> None:
    carrying: list[Any] = []

    @inject
    def work(db: Handle = Provide[seen.App.db]) -> None:
        carrying.append(carried(seen.ask_session))
        carrying.append(carried(seen.ask))

    with lifespan(seen.App) as container, ThreadPoolExecutor(1) as pool:
        work()
        with pytest.raises(LifespanClosedError):
            pool.submit(carrying[0]).result(SECONDS)
        assert pool.submit(carrying[1]).result(SECONDS) == (0, container.db())
    assert witness.count("open session") == witness.count("close session")


# Where it is missing


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and "everywhere=True" in r.message]


def test_a_thread_without_the_context_is_told_once_that_it_opens_its_own_and_what_to_do(
    seen: Seen, witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    with lifespan(seen.App) as container, ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            _, db = pool.submit(seen.ask).result(SECONDS)
            assert db is not container.db()
    (warning,) = warnings_in(caplog)
    assert "ask was called where no lifespan of" in warning
    assert "carried(function)" in warning
    assert witness.count("open db") == 4


def test_a_request_of_an_application_whose_lifespan_is_elsewhere_is_told(
    seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    @inject
    async def request(db: Handle = Provide[seen.App.db]) -> Handle:
        return db

    async def main() -> None:
        async with lifespan(seen.App):
            await asyncio.get_running_loop().create_task(request(), context=contextvars.Context())

    asyncio.run(main())
    assert len(warnings_in(caplog)) == 1


def test_nothing_is_said_where_no_lifespan_is_open_or_its_container_is_another(
    seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(containers.DeclarativeContainer):
        db = providers.Object("other")

    with lifespan(seen.App):
        pass
    seen.ask()
    with lifespan(Other), ThreadPoolExecutor(1) as pool:
        pool.submit(seen.ask).result(SECONDS)
    assert warnings_in(caplog) == []
