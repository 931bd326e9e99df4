"""Each entering of a lifespan is left by its own leaving, and the outermost closes what lives as long as the process."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import ProcessResource, lifespan
from prefect_lifespan.engine.places.here import Here

PATIENCE_SECONDS = 60


class Terminated(BaseException):
    """What a handler of SIGTERM raises."""


@pytest.fixture
def closed() -> list[str]:
    return []


def test_a_leaving_in_another_context_leaves_what_was_entered_there(closed: list[str]) -> None:
    def opened() -> Iterator[str]:
        by = threading.current_thread().name
        yield by
        closed.append(by)

    class App(containers.DeclarativeContainer):
        it = providers.Resource(opened)

    shared, inside, go_on, found = lifespan(App), threading.Event(), threading.Event(), list[Any]()

    def block() -> None:
        with shared as container:
            inside.set()
            go_on.wait(PATIENCE_SECONDS)
            found.append(container.it())

    # As a fixture does whose framework runs its set-up in a context of its own.
    contextvars.copy_context().run(shared.__enter__)
    thread = threading.Thread(target=block, name="a block")
    thread.start()
    inside.wait(PATIENCE_SECONDS)
    shared.__exit__(None, None, None)
    assert closed == [threading.current_thread().name]
    go_on.set()
    thread.join()
    assert found == ["a block"]
    assert closed == [threading.current_thread().name, "a block"]


def test_what_lives_as_long_as_the_process_closes_with_a_block_whose_rollback_was_interrupted(
    closed: list[str],
) -> None:
    def model() -> Iterator[str]:
        try:
            yield "model"
        finally:
            closed.append("model")

    def interrupted(_: object) -> Iterator[str]:
        try:
            yield "db"
        finally:
            raise KeyboardInterrupt

    def refused(_: object) -> NoReturn:
        raise OSError

    class App(containers.DeclarativeContainer):
        model_ = ProcessResource(model)
        db = providers.Resource(interrupted, model_)
        api = providers.Resource(refused, db)

    with pytest.raises(KeyboardInterrupt), lifespan(App):
        pass
    assert closed == ["model"]


def test_what_lives_as_long_as_the_process_closes_with_an_asynchronous_block_that_was_cancelled_twice(
    closed: list[str],
) -> None:
    opening, closing = asyncio.Event(), asyncio.Event()

    def model() -> Iterator[str]:
        try:
            yield "model"
        finally:
            closed.append("model")

    async def db(_: object) -> AsyncIterator[str]:
        try:
            yield "db"
        finally:
            closing.set()
            await asyncio.sleep(0.01)
            closed.append("db")

    async def api(_: object) -> None:
        opening.set()
        await asyncio.Event().wait()

    class App(containers.DeclarativeContainer):
        model_ = ProcessResource(model)
        db_ = providers.Resource(db, model_)
        api_ = providers.Resource(api, db_)

    async def block() -> None:
        async with lifespan(App):
            pass

    async def main() -> None:
        entering = asyncio.create_task(block())
        await opening.wait()
        entering.cancel()
        await closing.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(main())
    assert closed == ["db", "model"]


def test_a_signal_between_the_claim_of_an_opening_and_its_first_step_hangs_nothing(closed: list[str]) -> None:
    def opened(name: str, *_: object) -> Iterator[str]:
        try:
            yield name
        finally:
            closed.append(name)

    class App(containers.DeclarativeContainer):
        a = providers.Resource(opened, "a")
        b = providers.Resource(opened, "b", a)
        c = providers.Resource(opened, "c", b)

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    claims: list[object] = []

    def tracer(frame: Any, event: str, _: object) -> Any:
        if event == "call" and frame.f_code is Here.enter.__code__:
            claims.append(frame)
            if len(claims) == 2:
                sys.settrace(None)
                signal.raise_signal(signal.SIGTERM)
        return None

    before, traced = signal.signal(signal.SIGTERM, terminate), sys.gettrace()
    sys.settrace(tracer)
    try:
        with pytest.raises(Terminated), lifespan(App):
            pass
    finally:
        sys.settrace(traced)
        signal.signal(signal.SIGTERM, before)
    assert len(claims) == 2
    assert closed == ["a"]
