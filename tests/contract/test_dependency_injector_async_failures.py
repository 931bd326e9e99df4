"""How dependency-injector closes asynchronous resources, and what it leaves open when one of them fails."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from dependency_injector import containers, providers

PATIENCE_SECONDS = 60


def run(main: Callable[[], Any]) -> Any:
    """Run `main` on a loop of its own, bounded in time."""
    return asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


async def turns(count: int = 20) -> None:
    """Let everything that is ready run: what has not happened after this waits for something else."""
    for _ in range(count):
        await asyncio.sleep(0)


def container_of(**resources: providers.Provider[Any]) -> Any:
    container: Any = containers.DynamicContainer()
    container.set_providers(**resources)
    return container


def test_closing_goes_level_by_level() -> None:
    """If this fails, they close along the graph too and `benchmarks/` must not claim the difference."""
    log: list[str] = []

    async def main() -> None:
        release = asyncio.Event()

        def logged(name: str, *, held: bool = False) -> Callable[..., AsyncIterator[None]]:
            async def opening(*_: object) -> AsyncIterator[None]:
                yield
                if held:
                    await release.wait()
                log.append(name)

            return opening

        engine = providers.Resource(logged("engine"))
        ledger = providers.Resource(logged("ledger"), engine)
        slow = providers.Resource(logged("slow", held=True))
        container = container_of(engine=engine, ledger=ledger, slow=slow)
        await container.init_resources()

        closing = asyncio.ensure_future(container.shutdown_resources())
        await turns()
        assert log == ["ledger"], "nothing uses the engine any more, but it waits for the slow one"
        release.set()
        await closing

    run(main)
    assert log == ["ledger", "slow", "engine"]


def test_when_one_opening_fails_its_siblings_go_on_as_orphans() -> None:
    """If this fails, they cancel siblings as the engine does."""
    log: list[str] = []

    async def main() -> None:
        release = asyncio.Event()

        async def failing() -> None:
            raise ConnectionError

        async def slow() -> None:
            await release.wait()
            log.append("opened after the failure was reported")

        container = container_of(failing=providers.Resource(failing), slow=providers.Resource(slow))
        with pytest.raises(ConnectionError):
            await container.init_resources()
        assert log == []
        release.set()
        await turns()

    run(main)
    assert log == ["opened after the failure was reported"]


def test_closing_at_once_after_a_failed_opening_raises_the_opening_error_again() -> None:
    """If this fails, their closing after a failed opening is clean and the engine's own unwinding could use it."""

    async def main() -> None:
        async def failing() -> None:
            raise ConnectionError("opening")

        async def dependent(_: object) -> None: ...

        engine = providers.Resource(failing)
        container = container_of(engine=engine, ledger=providers.Resource(dependent, engine))
        with pytest.raises(ConnectionError, match="opening"):
            await container.init_resources()
        with pytest.raises(ConnectionError, match="opening"):
            await container.shutdown_resources()
        await container.shutdown_resources()

    run(main)


# The lost closing is a coroutine that nobody awaits: that is the behaviour under test.
@pytest.mark.filterwarnings("ignore:coroutine 'ResourceState.async_shutdown' was never awaited:RuntimeWarning")
def test_a_sync_exit_that_raises_loses_the_async_closings_of_its_level_for_good() -> None:
    """If this fails, their closing in async mode survives errors; ours tries every close."""
    log: list[str] = []

    async def async_opening() -> AsyncIterator[None]:
        yield
        log.append("closed")

    def sync_opening() -> Iterator[None]:
        yield
        raise ConnectionError

    async def main() -> None:
        lost = providers.Resource(async_opening)
        raising = providers.Resource(sync_opening)
        container = container_of()
        container.traverse = lambda types=None: iter([lost, raising])
        await container.init_resources()
        with pytest.raises(ConnectionError):
            await container.shutdown_resources()
        assert not lost.initialized
        await container.shutdown_resources()

    run(main)
    gc.collect()
    assert log == []
