"""What dependency-injector does with asynchronous resources: what ours matches, and what it must do better."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
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


def test_calling_an_async_resource_gives_the_opening_and_not_what_is_opened() -> None:
    """If this fails, a sync function may get the value and `AsyncResourceError` has another reason."""

    async def opening() -> str:
        return "opened"

    async def main() -> None:
        resource: Any = providers.Resource(opening)
        pending = resource()
        assert isinstance(pending, asyncio.Future)
        assert resource.initialized
        assert await pending == "opened"
        assert await resource() == "opened"

    run(main)


# When no loop runs, the coroutine that wraps the initialiser's is made before the loop is looked for.
@pytest.mark.filterwarnings(
    "ignore:coroutine 'ResourceState.from_awaitable' was never awaited:RuntimeWarning",
    "ignore:There is no current event loop:DeprecationWarning",
)
def test_an_async_resource_cannot_be_called_without_a_running_loop() -> None:
    """The engine must run asynchronous initialisers itself when a sync flow opens them."""

    async def opening() -> None: ...

    made: list[Any] = []

    def tracked() -> Any:
        made.append(opening())
        return made[0]

    resource: Any = providers.Resource(tracked)
    with pytest.raises(RuntimeError, match="event loop"):
        resource()
    made[0].close()


def test_one_cancelled_waiter_cancels_the_opening_for_all() -> None:
    """If this fails, openings are shielded and the engine's own shield is needless."""

    async def main() -> None:
        never = asyncio.Event()

        async def opening() -> None:
            await never.wait()

        resource: Any = providers.Resource(opening)

        async def wait_for_it() -> None:
            await resource()

        hasty, patient = asyncio.create_task(wait_for_it()), asyncio.create_task(wait_for_it())
        await turns()
        hasty.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hasty
        await turns()
        assert patient.cancelled()

    run(main)


def test_a_pending_opening_awaited_from_another_loop_fails_there_and_for_its_owner() -> None:
    """If this fails, async resources may be shared between loops and `loop_bound` is needless."""

    async def main() -> None:
        release = asyncio.Event()

        async def opening() -> str:
            await release.wait()
            return "opened"

        resource: Any = providers.Resource(opening)
        owner = resource()
        await turns()
        foreign: list[RuntimeError] = []

        async def await_it() -> None:
            await resource()

        def elsewhere() -> None:
            try:
                asyncio.run(await_it())
            except RuntimeError as error:
                foreign.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join, PATIENCE_SECONDS)
        assert "attached to a different loop" in str(foreign[0])
        release.set()
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            await owner

    run(main)


def test_a_context_variable_set_by_an_async_initialiser_is_lost() -> None:
    """If this fails, async initialisers run in their caller's context and so may the engine's."""
    variable = contextvars.ContextVar("variable", default="unset")

    async def opening() -> AsyncIterator[None]:
        variable.set("set")
        yield

    async def main() -> None:
        container = container_of(resource=providers.Resource(opening))
        await container.init_resources()
        assert variable.get() == "unset"
        await container.shutdown_resources()

    run(main)


def test_an_async_resource_is_entered_and_left_in_two_different_tasks() -> None:
    """Cancel scopes and task groups forbid this: a resource of ours is left in the task that entered it."""
    tasks: list[asyncio.Task[Any] | None] = []

    class Group:
        async def __aenter__(self) -> None:
            tasks.append(asyncio.current_task())

        async def __aexit__(self, *_: object) -> None:
            tasks.append(asyncio.current_task())

    async def main() -> None:
        container = container_of(group=providers.Resource(Group))
        await container.init_resources()
        await container.shutdown_resources()

    run(main)
    assert len(tasks) == 2
    assert tasks[0] is not tasks[1]


def test_independent_async_resources_open_at_the_same_time() -> None:
    """The engine promises no less: each initialiser here waits until the others have started."""

    async def main() -> None:
        all_started = asyncio.Barrier(3)

        async def opening() -> None:
            await all_started.wait()

        container = container_of(**{name: providers.Resource(opening) for name in "abc"})
        await container.init_resources()

    run(main)
