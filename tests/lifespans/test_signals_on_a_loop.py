"""Real signals while an event loop opens and closes: each goes on once, what has opened closes, and nothing hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, Provide, inject, lifespan

PATIENCE_SECONDS = 60


class Terminated(BaseException):
    """What the handler raises, as Prefect's does."""


class Hung(BaseException):
    """The run did not end."""


def terminate(*_: object) -> None:
    raise Terminated


def leave(*_: object) -> None:
    sys.exit(143)


def give_up(*_: object) -> None:
    raise Hung


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A handler of SIGTERM that raises, and an alarm for what hangs."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_SECONDS)
    yield
    signal.alarm(0)
    for number, handler in before.items():
        signal.signal(number, handler)


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class Run:
    """Three asynchronous resources, one needing the other, and one blocking; what they do, in order."""

    def __init__(self, within: Callable[[str], None] = lambda _: None) -> None:
        self.marks: list[str] = []
        self._within = within

    @property
    def left_open(self) -> set[str]:
        return self._of("open") - self._of("close")

    def _of(self, what: str) -> set[str]:
        return {mark.split()[1] for mark in self.marks if mark.startswith(f"{what} ")}

    async def asynchronous(self, name: str, *_: object) -> AsyncGenerator[str]:
        self._within(f"opening {name}")
        await asyncio.sleep(0.001)
        self.marks.append(f"open {name}")
        try:
            yield name
        except BaseException as error:
            self.marks.append(f"close {name} {type(error).__name__}")
            raise
        else:
            self._within(f"closing {name}")
            await asyncio.sleep(0.001)
            self.marks.append(f"close {name}")

    def blocking(self, name: str, *_: object) -> Generator[str]:
        self._within(f"opening {name}")
        self.marks.append(f"open {name}")
        try:
            yield name
        finally:
            self.marks.append(f"close {name}")

    def container(self) -> Any:
        class App(containers.DeclarativeContainer):
            a = providers.Resource(self.asynchronous, "a")
            b = providers.Resource(self.asynchronous, "b", a)
            c = providers.Resource(self.blocking, "c", b)
            d = providers.Resource(self.asynchronous, "d", c)

        return App

    async def with_block(self) -> None:
        async with lifespan(self.container()):
            self.marks.append("body")
            await asyncio.sleep(0)


class Reporting(logging.Handler):
    """A handler during which a signal arrives, before it has written the line."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        verb, name = self._line.split()
        message = record.getMessage()
        if message.startswith(verb) and f".{name} " in message:
            sigterm()


@pytest.fixture
def library_log() -> Iterator[logging.Logger]:
    """The logger that a block without a flow reports to."""
    logger = logging.getLogger("prefect_lifespan")
    level, handlers = logger.level, [*logger.handlers]
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.parametrize(("handler", "raised"), [(terminate, Terminated), (leave, SystemExit)])
@pytest.mark.parametrize("opened", ["a", "b", "c", "d"])
def test_a_signal_while_an_opening_is_reported_goes_on(
    library_log: logging.Logger, opened: str, handler: Any, raised: type[BaseException]
) -> None:
    signal.signal(signal.SIGTERM, handler)
    library_log.addHandler(Reporting(f"Opened App.{opened}"))
    run = Run()
    with pytest.raises(raised):
        asyncio.run(run.with_block())
    assert f"open {opened}" in run.marks
    assert "body" not in run.marks
    assert run.left_open == set()
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize("opened", ["a", "b", "c"])
def test_what_a_signal_ends_in_the_moment_of_its_opening_has_not_failed(
    library_log: logging.Logger, caplog: pytest.LogCaptureFixture, opened: str
) -> None:
    closed: list[str] = []

    async def at_once(name: str) -> AsyncGenerator[str]:
        """So that all have opened before whoever opens them is told of the first."""
        try:
            yield name
        finally:
            closed.append(name)

    class App(containers.DeclarativeContainer):
        a = providers.Resource(at_once, "a")
        b = providers.Resource(at_once, "b")
        c = providers.Resource(at_once, "c")

    async def main() -> None:
        async with lifespan(App):
            closed.append("body")

    library_log.addHandler(Reporting(f"Opened App.{opened}"))
    with pytest.raises(Terminated):
        asyncio.run(main())
    assert f"App.{opened} " in caplog.text
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert closed == ["c", "b", "a"]


@pytest.mark.parametrize("closed", ["a", "b", "c", "d"])
def test_a_signal_while_a_closing_is_reported_skips_nothing_and_goes_on(
    library_log: logging.Logger, closed: str
) -> None:
    library_log.addHandler(Reporting(f"Closed App.{closed}"))
    run = Run()
    with pytest.raises(Terminated):
        asyncio.run(run.with_block())
    assert run.marks[-4:] == ["close d", "close c", "close b", "close a"]


@pytest.mark.parametrize("moment", [f"opening {name}" for name in "abcd"] + [f"closing {name}" for name in "abd"])
def test_a_signal_in_a_resource_leaves_nothing_open_and_goes_on(moment: str) -> None:
    def within(now: str) -> None:
        if now == moment:
            sigterm()

    run = Run(within)
    with pytest.raises(Terminated):
        asyncio.run(run.with_block())
    assert run.left_open == set()
    assert ("body" in run.marks) == moment.startswith("closing")


def test_a_signal_is_told_to_what_has_opened_before_it() -> None:
    run = Run(lambda now: sigterm() if now == "opening d" else None)
    with pytest.raises(Terminated):
        asyncio.run(run.with_block())
    assert [mark for mark in run.marks if mark.startswith("close")][-2:] == ["close b Terminated", "close a Terminated"]


def test_a_signal_at_first_use_goes_on() -> None:
    run = Run(lambda now: sigterm() if now == "opening b" else None)
    app = run.container()

    @inject
    async def use(d: str = Provide[app.d]) -> None:
        run.marks.append("used")

    async def main() -> None:
        async with lifespan(app, eager=False):
            await use()

    with pytest.raises(Terminated):
        asyncio.run(main())
    assert run.left_open == set()
    assert "used" not in run.marks


def test_a_second_signal_interrupts_an_initialiser_that_holds_up_the_loop() -> None:
    def within(now: str) -> None:
        if now == "opening b":
            sigterm()
            run.marks.append("held back")
            sigterm()
            run.marks.append("never")

    run = Run(within)
    with pytest.raises(Terminated):
        asyncio.run(run.with_block())
    assert "held back" in run.marks
    assert "never" not in run.marks
    assert run.left_open == set()


@pytest.mark.parametrize("in_a_callback", [False, True])
def test_a_signal_while_a_resource_of_the_process_opens_goes_on_in_the_task_that_opens(in_a_callback: bool) -> None:
    marks: list[str] = []
    loops: list[asyncio.AbstractEventLoop] = []
    told = threading.Event()

    def tell(*_: object) -> None:
        told.set()
        raise Terminated

    def load() -> Generator[str]:
        if in_a_callback:
            loops[0].call_soon_threadsafe(sigterm)
        else:
            sigterm()
        assert told.wait(PATIENCE_SECONDS)
        try:
            yield "model"
        finally:
            marks.append("close model")

    class App(containers.DeclarativeContainer):
        model = ProcessResource(load)
        db = providers.Resource(dict, model=model)

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        try:
            async with lifespan(App):
                marks.append("body")
        except Terminated:
            marks.append("told")
            raise

    signal.signal(signal.SIGTERM, tell)
    with pytest.raises(Terminated):
        asyncio.run(main())
    assert marks == ["close model", "told"]


@pytest.mark.parametrize("moment", ["opening b", "closing b"])
def test_a_signal_that_asyncio_handles_is_delivered_once(moment: str) -> None:
    calls: list[str] = []
    run = Run(lambda now: sigterm() if now == moment else None)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, calls.append, "called")
        try:
            await run.with_block()
            await asyncio.sleep(0.01)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(main())
    assert calls == ["called"]
    assert run.left_open == set()


def test_a_handler_that_calls_the_one_it_found_while_resources_opened_calls_it_once() -> None:
    """As a server does that is a resource: it keeps the handler that it finds, and calls it for what it does not want."""
    calls: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: calls.append(number))

    def chaining() -> Generator[None]:
        found: Any = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, frame: found(number, frame))
        yield

    class Server(containers.DeclarativeContainer):
        server = providers.Resource(chaining)

    async def main() -> None:
        async with lifespan(Server):
            pass
        async with lifespan(Server):
            pass
        sigterm()

    asyncio.run(main())
    assert calls == [signal.SIGTERM]


def test_a_signal_while_a_blocking_initialiser_waits_for_its_next_attempt_ends_the_waiting() -> None:
    marks: list[str] = []
    refused = asyncio.Event()

    def refusing() -> str:
        refused.set()
        raise OSError

    async def signalling() -> AsyncGenerator[str]:
        marks.append("open")
        await refused.wait()
        await asyncio.sleep(0)
        sigterm()
        yield "opened all the same"
        marks.append("never")

    class App(containers.DeclarativeContainer):
        signalling_ = providers.Resource(signalling)
        refusing_ = providers.Resource(refusing)

    async def main() -> None:
        async with lifespan(App, retries=1, retry_delay_seconds=2 * PATIENCE_SECONDS):
            marks.append("body")

    with pytest.raises(Terminated):
        asyncio.run(main())
    assert marks == ["open"]


def test_a_second_signal_waits_until_what_the_first_has_cancelled_is_over() -> None:
    marks: list[str] = []

    async def opened() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            marks.append("closed")

    async def waiting(_: object) -> AsyncGenerator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            sigterm()
            await asyncio.sleep(0)
            marks.append("cancelled")

    async def signalling(_: object) -> None:
        sigterm()
        await asyncio.Event().wait()

    class App(containers.DeclarativeContainer):
        first = providers.Resource(opened)
        waiting_ = providers.Resource(waiting, first)
        signalling_ = providers.Resource(signalling, first)

    async def main() -> None:
        async with lifespan(App):
            marks.append("body")

    with pytest.raises(Terminated):
        asyncio.run(main())
    assert marks == ["cancelled", "closed"]


def test_a_signal_is_delivered_in_the_main_thread_whatever_another_one_opens_meanwhile() -> None:
    told: list[threading.Thread] = []

    def tell(*_: object) -> None:
        told.append(threading.current_thread())
        raise Terminated

    signal.signal(signal.SIGTERM, tell)

    async def elsewhere() -> None:
        async with lifespan(Run().container()):
            pass

    async def signalling() -> None:
        sigterm()
        thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
        thread.start()
        thread.join()

    class App(containers.DeclarativeContainer):
        signalling_ = providers.Resource(signalling)

    async def main() -> None:
        async with lifespan(App):
            pass

    with pytest.raises(Terminated):
        asyncio.run(main())
    assert told == [threading.main_thread()]
