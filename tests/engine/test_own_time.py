"""A limit counts the time that a resource's own opening takes: not its wait for a turn, nor for what it asks for."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from dependency_injector import providers

from prefect_lifespan import resource
from prefect_lifespan.errors import ResourceTimeoutError
from tests.engine.support import PATIENCE_SECONDS, aopen_all, async_engine_of, declare, engine_of, open_all, run

LIMIT = 0.4  # a loaded machine needs some of it to open anything
LONG = 1.1 * LIMIT  # what one without a limit takes


def slow(*_: object) -> Generator[str]:
    time.sleep(LONG)
    yield "slow"


@resource(open_timeout_seconds=LIMIT)
def quick(*_: object) -> Generator[str]:
    yield "quick"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["blocking", "loop"])
def test_a_wait_for_its_turn_in_a_thread_does_not_count(how: str, workers: int) -> None:
    """As many as may open at the same time do so already when it is asked for, at first use in another thread."""
    begun = threading.Barrier(workers + 1)

    def slow_one() -> Generator[str]:
        begun.wait(PATIENCE_SECONDS)
        yield from slow()

    names = [f"slow{number}" for number in range(workers)]
    container = declare(**{name: providers.Resource(slow_one) for name in names}, quick=providers.Resource(quick))

    def use(engine: Any) -> None:
        opening = [threading.Thread(target=getattr(engine.instance, name)) for name in names]
        for thread in opening:
            thread.start()
        begun.wait(PATIENCE_SECONDS)
        got: list[str] = []
        asking = threading.Thread(target=lambda: got.append(engine.instance.quick()))
        asking.start()
        for thread in [*opening, asking]:
            thread.join(PATIENCE_SECONDS)
        assert got == ["quick"]

    async def main() -> None:
        engine = async_engine_of(container, max_workers=workers)
        await asyncio.to_thread(use, engine)
        (await engine.aclose()).settle()

    if how == "loop":
        run(main)
    else:
        engine = engine_of(container, max_workers=workers)
        use(engine)
        engine.close().settle()


def test_an_asynchronous_one_does_not_count_what_a_blocking_one_holds_the_loop_for() -> None:
    @resource(open_timeout_seconds=LIMIT)
    async def patient() -> AsyncGenerator[str]:
        for _ in range(5):
            await asyncio.sleep(0)
        yield "patient"

    async def main() -> None:
        engine = async_engine_of(declare(patient=providers.Resource(patient), slow=providers.Resource(slow)))
        container = await aopen_all(engine)
        assert container.patient() == "patient"
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_an_initialiser_asks_for_has_a_limit_of_its_own(workers: int) -> None:
    """Nested, and the outer one's limit holds for the rest."""
    taking = [0.0]

    @resource(open_timeout_seconds=LIMIT)
    def asking(slow_one: Any) -> Generator[str]:
        slow_one()
        time.sleep(taking[0])
        yield "asked"

    slow_one = providers.Resource(slow)
    container = declare(slow_one=slow_one, asking=providers.Resource(asking, slow_one.provider))
    engine = engine_of(container, max_workers=workers)
    engine.open(engine.needed([id(container.asking)])[-1:], "the test")
    engine.close().settle()
    taking[0] = LONG
    engine = engine_of(container, max_workers=workers)
    with pytest.raises(ResourceTimeoutError, match=r"App\.asking did not open"):
        engine.open(engine.needed([id(container.asking)])[-1:], "the test")
    engine.close().settle()


def test_an_asynchronous_initialiser_that_asks_for_another_one_has_the_rest_of_its_limit_after_that() -> None:
    taking = [0.0]

    async def slow_async() -> AsyncGenerator[str]:
        await asyncio.sleep(LONG)
        yield "slow"

    @resource(open_timeout_seconds=LIMIT)
    async def asking(slow_one: Any) -> AsyncGenerator[str]:
        await slow_one.init()
        await asyncio.sleep(taking[0])
        yield "asked"

    slow_one = providers.Resource(slow_async)
    container = declare(slow_one=slow_one, asking=providers.Resource(asking, slow_one.provider))

    async def main() -> None:
        engine = async_engine_of(container)
        await engine.aopen(engine.needed([id(container.asking)])[-1:], "the test")
        (await engine.aclose()).settle()
        taking[0] = LONG
        engine = async_engine_of(container)
        with pytest.raises(ResourceTimeoutError, match=r"App\.asking did not open"):
            await engine.aopen(engine.needed([id(container.asking)])[-1:], "the test")
        (await engine.aclose()).settle()

    run(main)


@pytest.mark.parametrize("on_loop", [False, True], ids=["blocking", "loop"])
def test_with_more_resources_than_threads_none_counts_the_others(on_loop: bool) -> None:
    """Twelve, two at a time, which take longer than the limit together."""

    def initialiser() -> Generator[None]:
        time.sleep(LIMIT / 5)
        yield

    container = declare(**{f"r{number}": providers.Resource(initialiser) for number in range(12)})

    async def main() -> None:
        engine = async_engine_of(container, max_workers=2, open_timeout_seconds=LIMIT)
        await aopen_all(engine)
        (await engine.aclose()).settle()

    if on_loop:
        run(main)
    else:
        engine = engine_of(container, max_workers=2, open_timeout_seconds=LIMIT)
        open_all(engine)
        engine.close().settle()
