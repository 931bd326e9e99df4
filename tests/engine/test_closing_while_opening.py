"""Openings that are under way in other threads when the lifespan closes: what they need closes after them."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import Engine, Event, State
from prefect_lifespan.errors import LifespanClosedError
from tests.engine.support import (
    PATIENCE_SECONDS,
    Journal,
    aopen_all,
    apoll,
    async_engine_of,
    declare,
    engine_of,
    in_threads,
    poll,
    run,
    turns,
)

pytestmark = pytest.mark.timeout(30, method="thread")

SHORT = 0.02


class LateUse:
    """`b` needs `a`, and is opening when the lifespan ends; then it gives `a` time to close under it."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.journal = Journal()
        self.begun = threading.Event()
        self.closed = threading.Event()
        self.engine: Engine | None = None
        a = providers.Resource(self.asynchronous if asynchronous else self.blocking)
        self.container = declare(a=a, b=providers.Resource(self.late, a))

    def blocking(self) -> Generator[str]:
        yield "a"
        self.journal.append("-a")
        self.closed.set()

    async def asynchronous(self) -> AsyncGenerator[str]:
        for value in self.blocking():
            yield value

    def late(self, _: str) -> Generator[None]:
        self.begun.set()
        poll(lambda: self.engine is not None and self.engine.schedule.ended, "the lifespan ends")
        self.closed.wait(0.1)
        self.journal.append("+b")
        yield
        self.journal.append("-b")

    def use(self) -> None:
        container: Any = self.engine and self.engine.instance
        with pytest.raises(LifespanClosedError):
            container.b()
        self.journal.append("told so")


def test_without_a_loop_what_a_late_opening_needs_closes_after_it() -> None:
    """It closed under the initialiser that was given it."""
    late = LateUse(asynchronous=False)
    late.engine = engine_of(late.container)
    container: Any = late.engine.instance
    container.a()
    user = threading.Thread(target=late.use)
    user.start()
    late.begun.wait(PATIENCE_SECONDS)
    late.engine.close().settle()
    user.join(PATIENCE_SECONDS)
    assert sorted(late.journal[2:]) == ["-a", "told so"]
    assert late.journal[:2] == ["+b", "-b"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "async"])
def test_on_a_loop_what_a_late_opening_needs_closes_after_it(asynchronous: bool) -> None:
    late = LateUse(asynchronous=asynchronous)

    async def main() -> None:
        engine = late.engine = async_engine_of(late.container)
        await engine.aopen(engine.needed(engine.keys_of("a")), "first use")
        using = asyncio.create_task(asyncio.to_thread(late.use))
        await apoll(late.begun.is_set, "it is opening")
        (await engine.aclose()).settle()
        await using

    run(main)
    assert sorted(late.journal[2:]) == ["-a", "told so"]
    assert late.journal[:2] == ["+b", "-b"]


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_a_late_opening_that_hangs_is_waited_for_no_longer_than_its_limit_and_the_rest_closes(on_loop: bool) -> None:
    """Then it closes as well, and whoever asked for it is told so: both waited for a lane that had been stopped.

    On a loop it was waited for in the pool of threads that such openings themselves may fill.
    """
    journal = Journal()
    begun, may_open = threading.Event(), threading.Event()

    def hangs(_: str) -> Generator[None]:
        thread = threading.current_thread()
        begun.set()
        may_open.wait()
        yield
        journal.append(f"late close in its own thread: {thread is threading.current_thread()}")

    a = journal.resource("a")
    container = declare(a=a, b=providers.Resource(hangs, a))
    events: list[Event] = []

    def use(engine: Engine) -> None:
        instance: Any = engine.instance
        with pytest.raises(LifespanClosedError):
            instance.b()

    async def main() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        engine = async_engine_of(container, close_timeout_seconds=SHORT, events=events)
        await engine.aopen(engine.needed(engine.keys_of("a")), "first use")
        using = asyncio.create_task(asyncio.to_thread(use, engine))
        await apoll(begun.is_set, "it is opening")
        report = await engine.aclose()
        may_open.set()
        await using
        return report

    if on_loop:
        report = run(main)
    else:
        engine = engine_of(container, close_timeout_seconds=SHORT, events=events)
        engine.open(engine.needed(engine.keys_of("a")), "first use")
        user = threading.Thread(target=use, args=[engine])
        user.start()
        begun.wait(PATIENCE_SECONDS)
        report = engine.close()
        may_open.set()
        user.join(PATIENCE_SECONDS)
    assert [str(error)[:30] for error in report.raising] == ["App.b did not open within 0.02"]
    assert [event.error_text for event in events if event.kind == "open-failed"] == [
        str(each) for each in report.raising
    ]
    assert journal == ["+a", "-a", "late close in its own thread: True"]


def test_no_attempt_follows_when_the_lifespan_has_ended() -> None:
    calls: list[int] = []
    begun = threading.Event()

    def fails() -> None:
        calls.append(1)
        begun.set()
        poll(lambda: engine.schedule.ended, "the lifespan ends")
        raise OSError

    engine = engine_of(declare(a=providers.Resource(fails)), retries=9, retry_delay_seconds=0)
    container: Any = engine.instance
    results: list[Any] = []
    user = threading.Thread(target=lambda: results.extend(in_threads(1, container.a)))
    user.start()
    begun.wait(PATIENCE_SECONDS)
    engine.close().settle()
    user.join(PATIENCE_SECONDS)
    assert [type(result) for result in results] == [OSError]
    assert calls == [1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["lane", "async"])
def test_a_late_opening_that_is_cancelled_as_it_closes_closes_to_the_end(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a lane nobody gave up its claim, and everybody else waited for it; an asynchronous closer was interrupted."""
    journal = Journal()

    async def main() -> None:
        closing, may_close = threading.Event(), threading.Event()

        def blocking() -> Generator[None]:
            yield
            closing.set()
            may_close.wait()
            journal.append("closed")

        async def hosted() -> AsyncGenerator[None]:
            yield
            closing.set()
            await apoll(may_close.is_set, "it may close")
            journal.append("closed")

        engine = async_engine_of(declare(a=providers.Resource(hosted if asynchronous else blocking)), max_workers=2)
        (slot,) = engine.eager()
        opened = slot.opened

        def opened_late(*args: Any) -> Any:
            engine.schedule.end()
            return opened(*args)

        monkeypatch.setattr(slot, "opened", opened_late)
        opening = asyncio.create_task(aopen_all(engine))
        await apoll(closing.is_set, "it closes")
        opening.cancel()
        await turns()
        assert not opening.done()
        may_close.set()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert (slot.state, journal) == (State.CLOSED, ["closed"])
        (await engine.aclose()).settle()

    run(main)


def test_an_opening_that_begins_while_another_one_is_cancelled_for_closing_is_refused() -> None:
    """It began anew, was not cancelled, and closing waited for it as long as a closing may take."""
    cancelled: list[bool] = []

    async def hanging() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(hanging)), close_timeout_seconds=SHORT)
        first = asyncio.create_task(engine.aopen(engine.eager(), "first use"))
        await turns()
        second = asyncio.create_task(engine.aopen(engine.eager(), "another use"))  # begins when closing waits
        (await engine.aclose()).settle()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(LifespanClosedError):
            await second

    run(main)
    assert cancelled == [True]
