"""Limits of opening and closing: on loops, in lanes, in the calling thread; what cannot be interrupted is left behind."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan.engine import Event, on_loop
from prefect_lifespan.engine.schedule import limits
from prefect_lifespan.errors import ResourceTimeoutError
from prefect_lifespan.lifetimes import resource
from tests.engine.support import (
    PATIENCE_SECONDS,
    Journal,
    aopen_all,
    async_engine_of,
    declare,
    engine_of,
    in_threads,
    open_all,
    poll,
    run,
)

SHORT = 0.02


def test_an_async_opening_past_its_limit_is_cancelled_and_named() -> None:
    async def main() -> None:
        async def never() -> None:
            await asyncio.Event().wait()

        engine = async_engine_of(declare(a=providers.Resource(never)), open_timeout_seconds=SHORT)
        with pytest.raises(ResourceTimeoutError, match=r"App\.a did not open within 0\.02 s") as raised:
            await aopen_all(engine)
        assert isinstance(raised.value, TimeoutError)
        assert (raised.value.resource, raised.value.action, raised.value.seconds) == ("App.a", "open", SHORT)
        (await engine.aclose()).settle()

    run(main)


def test_what_opened_within_its_limit_stays_open_however_long_that_takes_to_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal, kinds, passed = Journal(), list[str](), 0.0
    monkeypatch.setattr(on_loop, "perf_counter", lambda: time.perf_counter() + passed)

    def slow(event: Event) -> None:
        """Holds up the event loop, as a log handler may that writes to a disk."""
        nonlocal passed
        kinds.append(event.kind)
        if event.kind == "opened":
            passed += 3600.0

    async def main() -> None:
        app = declare(a=journal.async_resource("a"), b=journal.async_resource("b"))
        engine = async_engine_of(app, open_timeout_seconds=60)
        engine.options.observers.add(slow)
        await aopen_all(engine)
        await asyncio.sleep(0)  # their tasks have a turn
        assert (engine.instance.a(), engine.instance.b()) == ("a", "b")
        (await engine.aclose()).settle()

    run(main)
    assert kinds == ["opened", "opened", "closed", "closed"]


def test_an_initialisers_own_timeout_error_is_not_taken_for_the_limit() -> None:
    async def main() -> None:
        own = TimeoutError("of the server")

        async def failing() -> None:
            raise own

        engine = async_engine_of(declare(a=providers.Resource(failing)), open_timeout_seconds=5)
        with pytest.raises(TimeoutError) as raised:
            await aopen_all(engine)
        assert raised.value is own

    run(main)


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_a_lane_that_hangs_while_opening_is_left_behind_and_closes_what_it_enters_after_all(on_loop: bool) -> None:
    """In a blocking lifespan the limit was looked at when the initialiser had returned: never, for one that hangs."""
    journal = Journal()
    go = threading.Event()

    def hangs() -> Generator[None]:
        go.wait()
        yield from journal.blocking("a")()

    options: Any = {"max_workers": 2, "open_timeout_seconds": SHORT}

    async def main() -> None:
        engine = async_engine_of(declare(a=providers.Resource(hangs)), **options)
        with pytest.raises(ResourceTimeoutError):
            await aopen_all(engine)
        (await engine.aclose()).settle()

    if on_loop:
        run(main)
    else:
        engine = engine_of(declare(a=providers.Resource(hangs)), **options)
        with pytest.raises(ResourceTimeoutError):
            open_all(engine)
        engine.close().settle()
    assert not journal
    go.set()
    poll(lambda: journal == ["+a", "-a"], "the late resource closes itself")


def test_a_neighbour_in_a_lane_that_hung_still_closes() -> None:
    """The lane was stopped with its neighbour's closer queued behind the stop."""
    journal = Journal()
    go = threading.Event()
    a = journal.resource("a")

    @resource(open_timeout_seconds=SHORT)
    def hangs() -> None:
        go.wait()

    engine = engine_of(declare(a=a, b=providers.Resource(hangs)))
    container: Any = engine.instance
    assert in_threads(1, container.a) == ["a"]
    assert isinstance(in_threads(1, container.b)[0], ResourceTimeoutError)
    go.set()
    engine.close().settle()
    assert journal == ["+a", "-a"]


def test_a_timeout_is_tried_again_where_the_policy_says_so() -> None:
    async def main() -> None:
        calls: list[int] = []

        async def slow_at_first() -> str:
            calls.append(1)
            if len(calls) == 1:
                await asyncio.Event().wait()
            return "opened"

        engine = async_engine_of(
            declare(a=providers.Resource(slow_at_first)), open_timeout_seconds=0.5, retries=1, retry_delay_seconds=0
        )
        assert (await aopen_all(engine)).a() == "opened"

    run(main)


def test_an_async_closer_past_its_limit_is_cancelled_and_the_next_still_closes() -> None:
    async def main() -> None:
        journal = Journal()

        @resource(close_timeout_seconds=SHORT)
        async def never(*_: object) -> AsyncGenerator[None]:
            yield
            try:
                await asyncio.Event().wait()
            finally:
                journal.append("cancelled")

        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=providers.Resource(never, a)))
        await aopen_all(engine)
        with pytest.raises(ResourceTimeoutError, match=r"App\.b did not close within 0\.02 s"):
            (await engine.aclose()).settle()
        assert journal == ["+a", "cancelled", "-a"]

    run(main)


def test_a_closer_that_ignores_its_cancellation_is_left_behind_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE_SECONDS", SHORT)

    async def main() -> None:
        journal = Journal()
        may_end = asyncio.Event()

        @resource(close_timeout_seconds=SHORT)
        async def stubborn(*_: object) -> AsyncGenerator[None]:
            yield
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    journal.append("ignored")

        a = journal.async_resource("a")
        engine = async_engine_of(declare(a=a, b=providers.Resource(stubborn, a)))
        await aopen_all(engine)
        report = await engine.aclose()
        may_end.set()
        assert [type(error) for error in report.raising] == [ResourceTimeoutError]
        assert journal == ["+a", "ignored", "ignored", "-a"]

    run(main)


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_a_closer_that_hangs_in_a_lane_is_left_behind_and_the_rest_closes(on_loop: bool) -> None:
    journal = Journal()
    go = threading.Event()

    def hangs(*_: object) -> Generator[None]:
        yield
        go.wait()
        journal.append("late")

    a = journal.resource("a")
    barrier = threading.Barrier(2)

    def beside() -> Generator[None]:
        barrier.wait(PATIENCE_SECONDS)
        yield

    @resource(close_timeout_seconds=SHORT)
    def hangs_beside() -> Generator[None]:
        barrier.wait(PATIENCE_SECONDS)
        yield from hangs()

    container = declare(a=a, b=providers.Resource(hangs_beside), c=providers.Resource(beside))

    async def main() -> Any:
        engine = async_engine_of(container, max_workers=2)
        await aopen_all(engine)
        return await engine.aclose()

    if on_loop:
        report = run(main)
    else:
        engine = engine_of(container, max_workers=2)
        open_all(engine)
        report = engine.close()
    (late,) = report.raising
    assert str(late).startswith("App.b did not close within")
    go.set()
    poll(lambda: "late" in journal and "-a" in journal, "what was left behind ends, and its neighbour too")


def test_a_resources_own_limit_stands_over_the_lifespans() -> None:
    async def main() -> None:
        @resource(open_timeout_seconds=SHORT)
        async def never() -> None:
            await asyncio.Event().wait()

        engine = async_engine_of(declare(a=providers.Resource(never)), open_timeout_seconds=60)
        with pytest.raises(ResourceTimeoutError, match="0.02 s"):
            await aopen_all(engine)

    run(main)


@pytest.mark.parametrize("how", ["blocking", "blocking on the loop", "loop"])
def test_what_closing_after_the_limit_raises_is_a_note_of_the_timeout_and_has_its_line(how: str) -> None:
    """It came out instead of the timeout, and no line told of it."""
    events: list[Event] = []

    def slow() -> Generator[None]:
        threading.Event().wait(3 * SHORT)
        try:
            yield
        finally:
            raise OSError("close failed")

    async def stubborn() -> AsyncGenerator[None]:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            yield
        finally:
            raise OSError("close failed")

    container = declare(a=providers.Resource(stubborn if how == "loop" else slow))
    limit: Any = {"open_timeout_seconds": SHORT, "events": events}

    async def main() -> None:
        await aopen_all(async_engine_of(container, **limit))

    with pytest.raises(ResourceTimeoutError) as raised:
        if how == "blocking":
            open_all(engine_of(container, **limit))
        else:
            run(main)
    assert "while closing App.a, OSError was raised: close failed" in raised.value.__notes__
    assert [event.kind for event in events] == ["opened", "close-failed", "open-failed"]
    assert events[1].error == "OSError: close failed"
