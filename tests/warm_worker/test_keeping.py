"""What a warm process keeps open, and a signal that arrives while it opens."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from dependency_injector import containers

from prefect_lifespan import ProcessResource, UsageError
from prefect_lifespan.engine.process_loop import process_loop
from prefect_lifespan.warm_worker.keeping import Kept
from prefect_lifespan.warm_worker.running import Terminated

seen: list[str] = []


def opens() -> Iterator[str]:
    seen.append("open first")
    try:
        yield "first"
    finally:
        seen.append("close first")


async def never_opens(first: str) -> AsyncIterator[str]:
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()
    yield "never"


class App(containers.DeclarativeContainer):
    first = ProcessResource(opens)
    feed = ProcessResource(never_opens, first)


@pytest.fixture(autouse=True)
def _terminated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM is what it is in a warm process that prepares a run; and its loop is the one of the test."""

    def terminated(number: int, _: object) -> None:
        raise Terminated(128 + number)

    monkeypatch.setattr(process_loop, "loop", None)
    before = signal.signal(signal.SIGTERM, terminated)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_while_it_opens_ends_that_and_leaves_a_loop_that_closes_the_rest() -> None:
    async def answer() -> int:
        return 42

    with asyncio.Runner() as runner:
        kept = Kept(f"{__name__}:App", 30.0, runner)
        with pytest.raises(Terminated):
            kept.make_ready()
        assert runner.run(answer()) == 42
        kept.close()

    assert seen == ["open first", "close first"]


@pytest.mark.parametrize("name", [f"{__name__}:Ap", "no_such_module:App", "App"])
def test_a_container_that_cannot_be_imported_is_told_with_where_it_is_named_and_how_it_is_to_be(name: str) -> None:
    with asyncio.Runner() as runner, pytest.raises(UsageError) as refused:
        Kept(name, 30.0, runner).make_ready()

    assert f"the job variable container is '{name}'" in str(refused.value)
    assert "package.module:Container" in str(refused.value)
