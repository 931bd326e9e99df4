"""When opening fails: what was open closes in reverse, siblings end, and the initialiser's own exception is seen."""

import asyncio
import sqlite3
import threading
from collections.abc import Generator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.errors import ResourceTimeoutError
from tests.engine.support import Journal, aopen_all, async_engine_of, declare, engine_of, open_all, run


class NotAnException(BaseException):
    """As pytest's own outcomes and termination signals are."""


def test_the_initialisers_own_exception_arrives_with_a_note_of_resource_chain_and_container() -> None:
    class OutOfCoffee(Exception): ...

    own = OutOfCoffee("no beans")

    def failing() -> None:
        raise own

    db: Any = providers.Resource(failing)
    users = providers.Factory(dict, db=db)
    engine = engine_of(declare(db=db, users=users, report=providers.Resource(dict, users=users)))
    with pytest.raises(OutOfCoffee) as raised:
        open_all(engine)
    assert raised.value is own
    assert own.__notes__ == ["while opening App.db (needed along report → users → db)"]


def test_what_was_open_closes_in_reverse_and_nothing_after_the_failure_opens() -> None:
    journal = Journal()

    def failing(*_: object) -> None:
        raise OSError

    a = journal.resource("a")
    b = journal.resource("b", a)
    broken: Any = providers.Resource(failing, b)
    engine = engine_of(declare(a=a, b=b, broken=broken, late=journal.resource("late", broken)))
    with pytest.raises(OSError) as raised:
        open_all(engine)
    engine.close(raised.value).settle()
    assert journal == ["+a", "+b", "-b", "-a"]


def test_the_failure_of_opening_is_the_outcome_that_reaches_what_was_open() -> None:
    seen: list[BaseException] = []

    def db() -> Any:
        try:
            yield
        except OSError as error:
            seen.append(error)
            raise

    def failing() -> None:
        raise OSError

    engine = engine_of(declare(db=providers.Resource(db), broken=providers.Resource(failing)))
    with pytest.raises(OSError) as raised:
        open_all(engine)
    engine.close(raised.value).settle()
    assert seen == [raised.value]


def test_siblings_that_are_still_opening_are_cancelled_and_awaited() -> None:
    journal = Journal()

    async def main() -> None:
        waiting = asyncio.Event()

        async def sibling() -> None:
            try:
                waiting.set()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                journal.append("sibling cleaned up")

        async def failing() -> None:
            await waiting.wait()
            raise OSError("own")

        engine = async_engine_of(declare(a=providers.Resource(sibling), b=providers.Resource(failing)))
        with pytest.raises(OSError, match="own"):
            await aopen_all(engine)
        assert journal == ["sibling cleaned up"]
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("error", [NotAnException("own"), asyncio.CancelledError("own")], ids=["base", "cancelled"])
def test_an_async_initialiser_that_raises_a_base_exception_fails_the_opening_and_is_called_once(
    error: BaseException,
) -> None:
    """It was taken for an interrupted opening, and claimed again for ever."""
    calls: list[int] = []

    async def main() -> None:
        async def failing() -> None:
            calls.append(1)
            assert len(calls) < 100, "the opening is tried for ever"
            raise error

        engine = async_engine_of(declare(a=providers.Resource(failing)))
        with pytest.raises(type(error)) as raised:
            await aopen_all(engine)
        assert raised.value is error
        (await engine.aclose()).settle()

    run(main)
    assert calls == [1]


def test_a_blocking_initialiser_that_raises_a_base_exception_closes_what_was_open() -> None:
    journal = Journal()

    def failing() -> None:
        raise NotAnException

    engine = engine_of(declare(a=journal.resource("a"), b=providers.Resource(failing)))
    with pytest.raises(NotAnException):
        open_all(engine)
    engine.close().settle()
    assert journal == ["+a", "-a"]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_blocking_failure_on_a_loop_leaves_no_async_resource_open(workers: int) -> None:
    journal = Journal()

    async def main() -> None:
        def failing() -> None:
            raise OSError

        a = journal.async_resource("a")
        engine = async_engine_of(
            declare(a=a, b=journal.async_resource("b", a), c=providers.Resource(failing)), max_workers=workers
        )
        with pytest.raises(OSError) as raised:
            await aopen_all(engine)
        (await engine.aclose(raised.value)).settle()

    run(main)
    assert journal.closed == journal.opened[::-1]


def test_a_failure_in_one_lane_waits_for_the_other_lanes_and_closes_what_they_opened() -> None:
    journal = Journal()
    begun, failed = threading.Event(), threading.Event()

    def slow() -> Any:
        begun.set()
        failed.wait()
        yield from journal.blocking("slow")()

    def failing() -> None:
        begun.wait()  # an opening that has not begun is not waited for: there is nothing to close
        try:
            raise OSError
        finally:
            failed.set()

    engine = engine_of(declare(slow=providers.Resource(slow), bad=providers.Resource(failing)), max_workers=2)
    with pytest.raises(OSError):
        open_all(engine)
    engine.close().settle()
    assert journal == ["+slow", "-slow"]


def test_a_lane_that_hangs_is_waited_for_no_longer_than_closing_may_take_however_long_opening_may() -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def hanging() -> None:
        hangs.set()
        go_on.wait()

    def failing() -> None:
        hangs.wait()
        raise OSError

    app = declare(hanging=providers.Resource(hanging), bad=providers.Resource(failing))
    engine = engine_of(app, max_workers=2, open_timeout_seconds=500.0, close_timeout_seconds=0.1)
    with pytest.raises(OSError):
        open_all(engine)
    engine.close()
    assert not go_on.is_set(), "it was left behind"
    go_on.set()


def test_an_opening_that_failed_can_be_tried_again_by_the_next_use() -> None:
    attempts: list[int] = []

    def flaky() -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError
        return "opened"

    engine = engine_of(declare(a=providers.Resource(flaky)))
    assert engine.instance is not None
    with pytest.raises(OSError):
        engine.instance.a()
    assert engine.instance.a() == "opened"


def test_what_failed_in_a_lane_and_opens_in_the_lifespans_own_thread_closes_there() -> None:
    """It closed in the lane of the attempt that had failed, where sqlite refuses it."""

    async def main() -> None:
        down = [True]

        def connect() -> Generator[sqlite3.Connection]:
            if down[0]:
                raise OSError
            connection = sqlite3.connect(":memory:", check_same_thread=True)
            yield connection
            connection.close()

        engine = async_engine_of(declare(db=providers.Resource(connect)))
        container: Any = engine.instance
        with pytest.raises(OSError):
            await asyncio.to_thread(container.db)
        down[0] = False
        await engine.aopen(engine.eager(), "the next use")
        (await engine.aclose()).settle()

    run(main)


def test_a_manager_of_both_kinds_that_failed_on_the_loop_and_opens_in_a_thread_closes() -> None:
    """It counted as closed with the task of the attempt that had failed, and was left open."""
    journal = Journal()

    class Client:
        async def __aenter__(self) -> None:
            raise OSError

        async def __aexit__(self, *_: object) -> None: ...

        def __enter__(self) -> None:
            journal.append("+client")

        def __exit__(self, *_: object) -> None:
            journal.append("-client")

    async def main() -> None:
        engine = async_engine_of(declare(client=providers.Resource(Client)))
        container: Any = engine.instance
        with pytest.raises(OSError):
            await engine.aopen(engine.eager(), "first use")
        await asyncio.to_thread(container.client)
        (await engine.aclose()).settle()

    run(main)
    assert journal == ["+client", "-client"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_retries_open_again_with_one_line_for_each_failure(asynchronous: bool) -> None:
    attempts: list[int] = []
    events: list[Any] = []

    def flaky() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError
        return "opened"

    async def aflaky() -> str:
        return flaky()

    options: Any = {"retries": 2, "retry_delay_seconds": 0.001, "events": events}

    async def main() -> str:
        engine = async_engine_of(declare(a=providers.Resource(aflaky)), **options)
        return (await aopen_all(engine)).a()

    blocking = engine_of(declare(a=providers.Resource(flaky)), **options)
    assert (run(main) if asynchronous else open_all(blocking).a()) == "opened"
    assert [event.kind for event in events] == ["open-retried", "open-retried", "opened"]


def test_an_opening_past_its_limit_is_a_timeout_that_names_it_and_its_context_variables_are_reset_in_place() -> None:
    """Closed outside its context, it raised a ValueError about its token in the timeout's place."""
    from contextvars import ContextVar

    variable: ContextVar[int] = ContextVar("variable")
    gate = threading.Event()

    def late() -> Any:
        token = variable.set(1)
        gate.wait(0.02)
        yield
        variable.reset(token)

    engine = engine_of(declare(a=providers.Resource(late)), open_timeout_seconds=0.01)
    assert engine.instance is not None
    with pytest.raises(ResourceTimeoutError, match=r"App\.a did not open within 0\.01 s"):
        engine.instance.a()
