"""A lifespan closes after the injected calls that run in it, wherever they run, and never waits for one that waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, NoReturn

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import LifespanClosedError, Provide, TaskResource, carried, inject, lifespan
from prefect_lifespan.lifespans import grace

SECONDS = 20.0
record: list[str] = []


class Handle:
    is_open = True


def blocking() -> Iterator[Handle]:
    handle = Handle()
    try:
        yield handle
    finally:
        handle.is_open = False
        record.append("closed")


async def asynchronous() -> AsyncIterator[Handle]:
    handle = Handle()
    try:
        yield handle
    finally:
        handle.is_open = False
        record.append("closed")


class App(containers.DeclarativeContainer):
    db = providers.Resource(blocking)


class WithApi(App):
    api = providers.Resource(asynchronous)


class WithSession(App):
    session = TaskResource(blocking)


@pytest.fixture(autouse=True)
def _clean_record() -> None:
    record.clear()


async def turns(then: Callable[[], object]) -> None:
    """More turns of the event loop than a closing takes that waits for nobody."""
    for _ in range(100):
        await asyncio.sleep(0)
    then()


def soon(then: Callable[[], object]) -> None:
    """The same for a closing in a thread."""
    threading.Timer(0.2, then).start()


def used(handle: Handle) -> None:
    assert handle.is_open, "used after it had closed"
    record.append("used")


@inject
async def waiting(released: asyncio.Event, db: Handle = Provide[App.db]) -> None:
    await released.wait()
    used(db)


@inject
def waiting_in_a_thread(begun: threading.Event, released: threading.Event, db: Handle = Provide[App.db]) -> None:
    begun.set()
    assert released.wait(SECONDS)
    used(db)


@pytest.mark.parametrize("container", [App, WithApi])
def test_what_gather_leaves_running_ends_first(container: type[App]) -> None:
    async def fails() -> None:
        raise ValueError("no")

    async def main() -> None:
        released = asyncio.Event()
        releasing = asyncio.create_task(asyncio.sleep(0))
        with pytest.raises(ValueError, match="no"):
            async with lifespan(container):
                releasing = asyncio.create_task(turns(released.set))
                await asyncio.gather(waiting(released), fails())
        await releasing

    asyncio.run(main())
    assert record == ["used", "closed"] if container is App else ["used", "closed", "closed"]


@pytest.mark.parametrize("calls_before", [0, 1])
def test_an_asyncio_task_that_has_not_begun_yet_is_waited_for(calls_before: int) -> None:
    async def main() -> None:
        released = asyncio.Event()
        async with lifespan(App):
            for _ in range(calls_before):  # a second call goes another way than the first
                open_already = asyncio.Event()
                open_already.set()
                await waiting(open_already)
            calling = asyncio.create_task(waiting(released))
            releasing = asyncio.create_task(turns(released.set))
        await asyncio.gather(calling, releasing)

    asyncio.run(main())
    assert record == ["used"] * (calls_before + 1) + ["closed"]


def test_a_thread_that_a_timeout_has_left_behind_ends_first() -> None:
    async def main() -> None:
        begun, released = threading.Event(), threading.Event()
        async with lifespan(App):
            in_a_thread = asyncio.to_thread(waiting_in_a_thread, begun, released)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(in_a_thread, 0.01)
            assert await asyncio.to_thread(begun.wait, SECONDS)
            soon(released.set)

    asyncio.run(main())
    assert record == ["used", "closed"]


@pytest.mark.parametrize("error", [None, ValueError("no")])
@pytest.mark.parametrize("how", ["context", "carried"])
@pytest.mark.parametrize("calls_before", [0, 1])
def test_a_blocking_lifespan_waits_for_calls_in_other_threads(
    error: Exception | None, how: str, calls_before: int
) -> None:
    begun, released, open_already = threading.Event(), threading.Event(), threading.Event()
    open_already.set()
    raised: BaseException | None = None
    thread = threading.Thread()
    try:
        with lifespan(App):
            for _ in range(calls_before):
                waiting_in_a_thread(threading.Event(), open_already)
            target: Callable[..., Any] = waiting_in_a_thread
            target = carried(target) if how == "carried" else contextvars.copy_context().run
            args = (begun, released) if how == "carried" else (waiting_in_a_thread, begun, released)
            thread = threading.Thread(target=target, args=args)
            thread.start()
            assert begun.wait(SECONDS)
            soon(released.set)
            if error is not None:
                raise error
    except ValueError as caught:
        raised = caught
    if thread.ident is not None:
        thread.join(SECONDS)
    assert raised is error
    assert record == ["used"] * (calls_before + 1) + ["closed"]


def test_calls_in_a_block_that_joined_are_waited_for_by_the_lifespan_that_it_joined() -> None:
    async def main() -> None:
        released = asyncio.Event()
        async with lifespan(App):
            async with lifespan(App):
                calling = asyncio.create_task(waiting(released))
            record.append("joined one left")
            releasing = asyncio.create_task(turns(released.set))
        await asyncio.gather(calling, releasing)

    asyncio.run(main())
    assert record == ["joined one left", "used", "closed"]


def test_calls_with_a_task_resource_are_waited_for() -> None:
    @inject
    async def call(released: asyncio.Event, session: Handle = Provide[WithSession.session]) -> None:
        await released.wait()
        used(session)

    async def main() -> None:
        released = asyncio.Event()
        async with lifespan(WithSession):
            calling = asyncio.create_task(call(released))
            releasing = asyncio.create_task(turns(released.set))
        await asyncio.gather(calling, releasing)

    asyncio.run(main())
    assert record == ["used", "closed", "closed"]


def test_an_application_waits_for_calls_in_every_context() -> None:
    begun, released = threading.Event(), threading.Event()
    with lifespan(App, everywhere=True):
        thread = threading.Thread(target=waiting_in_a_thread, args=(begun, released))
        thread.start()
        assert begun.wait(SECONDS)
        soon(released.set)
    thread.join(SECONDS)
    assert record == ["used", "closed"]


@pytest.mark.parametrize("through", ["itself", "a task", "a thread"])
def test_a_call_may_close_the_lifespan_that_it_runs_in(through: str) -> None:
    @inject
    async def shutdown(stack: AsyncExitStack, db: Handle = Provide[App.db]) -> None:
        record.append("called")
        if through == "itself":
            await stack.aclose()
        elif through == "a task":
            await asyncio.create_task(stack.aclose())
        else:
            await asyncio.to_thread(asyncio.run, stack.aclose())

    async def main() -> None:
        stack = AsyncExitStack()
        await stack.enter_async_context(lifespan(App))
        await asyncio.wait_for(shutdown(stack), SECONDS)

    asyncio.run(main())
    assert record == ["called", "closed"]


def test_a_blocking_call_may_close_the_lifespan_that_it_runs_in() -> None:
    @inject
    def shutdown(stack: ExitStack, db: Handle = Provide[App.db]) -> None:
        record.append("called")
        stack.close()

    def main() -> None:
        stack = ExitStack()
        stack.enter_context(lifespan(App))
        thread = threading.Thread(target=contextvars.copy_context().run, args=(shutdown, stack), daemon=True)
        thread.start()
        thread.join(SECONDS)
        assert not thread.is_alive()

    contextvars.copy_context().run(main)  # where it stays in force, although it has ended
    assert record == ["called", "closed"]


def test_a_generator_is_not_waited_for_between_its_steps() -> None:
    @inject
    async def steps(db: Handle = Provide[App.db]) -> AsyncGenerator[int]:
        yield 1
        yield 2

    @inject
    def blocking_steps(db: Handle = Provide[App.db]) -> Generator[int]:
        yield 1
        yield 2

    async def main() -> None:
        async with lifespan(App):
            suspended, blocking_one = steps(), blocking_steps()
            assert await anext(suspended) == 1
            assert await asyncio.to_thread(next, blocking_one) == 1
        await suspended.aclose()
        blocking_one.close()

    asyncio.run(main())
    assert record == ["closed"]


def test_a_step_of_a_generator_ends_first() -> None:
    @inject
    async def steps(released: asyncio.Event, db: Handle = Provide[App.db]) -> AsyncGenerator[int]:
        await released.wait()
        used(db)
        yield 1

    async def main() -> None:
        released = asyncio.Event()
        async with lifespan(App):
            generator = steps(released)
            stepping = asyncio.ensure_future(anext(generator))
            releasing = asyncio.create_task(turns(released.set))
        assert await stepping == 1
        await releasing
        await generator.aclose()

    asyncio.run(main())
    assert record == ["used", "closed"]


def test_calls_on_the_event_loop_that_a_closing_holds_up_are_told_and_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        released = asyncio.Event()
        with lifespan(App):
            calling = asyncio.create_task(waiting(released))
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert record == ["closed"]
    [line] = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert "cannot go on while this closes their resources" in line
    assert f"{__name__}.waiting;" in line


def test_after_a_signal_calls_have_a_grace_and_are_told_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grace, "TERMINATION_GRACE_SECONDS", 0.1)
    begun, released = threading.Event(), threading.Event()
    thread = None
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt), lifespan(App):
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(_waiting_only, begun, released), daemon=True
        )
        thread.start()
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt
    assert record == ["closed"]
    assert f"Still running after a grace of 0.1 s, their resources close now: {__name__}._waiting_only" in caplog.text
    released.set()
    assert thread is not None
    thread.join(SECONDS)


@inject
def _waiting_only(begun: threading.Event, released: threading.Event, db: Handle = Provide[App.db]) -> None:
    begun.set()
    assert released.wait(SECONDS)


def test_a_cancelled_body_waits_for_what_does_not_let_itself_be_cancelled() -> None:
    async def main() -> None:
        released, begun = asyncio.Event(), asyncio.Event()

        async def body() -> None:
            async with lifespan(App):
                begun.set()
                await asyncio.shield(waiting(released))

        running = asyncio.create_task(body())
        await begun.wait()
        await asyncio.sleep(0)
        running.cancel()
        await turns(released.set)
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert record == ["used", "closed"]


def test_a_call_after_the_end_is_late_as_ever() -> None:
    async def main() -> None:
        async with lifespan(App):
            context = contextvars.copy_context()
        released = asyncio.Event()
        released.set()
        with pytest.raises(LifespanClosedError):
            await asyncio.create_task(waiting(released), context=context)

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_child_waits_for_none_of_its_parents_calls() -> None:
    begun, released = threading.Event(), threading.Event()
    with lifespan(App):
        thread = threading.Thread(target=contextvars.copy_context().run, args=(waiting_in_a_thread, begun, released))
        thread.start()
        assert begun.wait(SECONDS)
        child = os.fork()
        if not child:
            with lifespan(App):
                open_already = threading.Event()
                open_already.set()
                waiting_in_a_thread(threading.Event(), open_already)
            os._exit(0 if record == ["used", "closed"] else 1)
        assert os.waitpid(child, 0)[1] == 0
        released.set()
    thread.join(SECONDS)
    assert record == ["used", "closed"]


def test_a_second_signal_on_an_event_loop_does_not_name_them_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grace, "TERMINATION_GRACE_SECONDS", 0.1)
    begun, released = threading.Event(), threading.Event()

    def terminate(*_: object) -> NoReturn:
        raise SystemExit

    async def main() -> None:
        async with lifespan(App):
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(_waiting_only, begun, released), daemon=True).start()
            assert begun.wait(SECONDS)
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)  # while that is waited for
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with caplog.at_level(logging.WARNING), pytest.raises((KeyboardInterrupt, SystemExit)):
            asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
        released.set()
    assert record == ["closed"]
    assert caplog.text.count("Still running after a grace") == 1
