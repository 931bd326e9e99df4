"""What the engine's tests share: containers made on the spot, resources that keep a journal, waiting with a bound."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any

from dependency_injector import containers, providers

from prefect_lifespan.engine import Engine, Event, Observers, Options
from prefect_lifespan.lifetimes import Policy

PATIENCE_SECONDS = 60  # bounds what never comes; on a loaded machine a turn may take seconds


class Journal(list[str]):
    """What happened, in order; makes initialisers that write to it."""

    def blocking(self, name: str) -> Callable[..., Any]:
        """An initialiser that notes `+name`, gives the name, and notes `-name` when it is closed."""

        def initialiser(*_: object, **__: object) -> Generator[str]:
            self.append(f"+{name}")
            try:
                yield name
            finally:
                self.append(f"-{name}")

        return initialiser

    def asynchronous(self, name: str) -> Callable[..., Any]:
        """The same as an asynchronous generator, with a turn of the event loop before each step."""

        async def initialiser(*_: object, **__: object) -> AsyncGenerator[str]:
            await asyncio.sleep(0)
            self.append(f"+{name}")
            try:
                yield name
            finally:
                await asyncio.sleep(0)
                self.append(f"-{name}")

        return initialiser

    def stubborn(self, name: str, *args: Any, waits: int = 1, until: asyncio.Event | None = None) -> Any:
        """A resource that lets the cancellations of `waits` endless waits fall, and opens when `until` says so."""

        async def initialiser(*_: object) -> AsyncGenerator[str]:
            self.append(f"trying {name}")
            for _wait in range(waits):
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                self.append(f"ignored {name}")
            if until is not None:
                await until.wait()
            self.append(f"+{name}")
            try:
                yield name
            finally:
                self.append(f"-{name}")

        return providers.Resource(initialiser, *args)

    def resource(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """A blocking resource that needs `args` and `kwargs`."""
        return providers.Resource(self.blocking(name), *args, **kwargs)

    def async_resource(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """An asynchronous resource that needs `args` and `kwargs`."""
        return providers.Resource(self.asynchronous(name), *args, **kwargs)

    @property
    def opened(self) -> list[str]:
        """The names that were opened, in order."""
        return [entry[1:] for entry in self if entry.startswith("+")]

    @property
    def closed(self) -> list[str]:
        """The names that were closed, in order."""
        return [entry[1:] for entry in self if entry.startswith("-")]


def declare(**declared: Any) -> Any:
    """A container class that declares `declared`, in order."""
    return type("App", (containers.DeclarativeContainer,), declared)


def engine_of(
    container: Any,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    max_workers: int = 1,
    overrides: Any = None,
    events: list[Event] | None = None,
    **policy: Any,
) -> Engine:
    """An engine as a lifespan makes it, with limits that a test that hangs runs into."""
    defaults = Policy(**{"close_timeout_seconds": float(PATIENCE_SECONDS), "on_close_error": "raise", **policy})
    observers = Observers(() if events is None else (events.append,))
    options = Options(defaults, max_workers, observers)
    return Engine.of(container, name="the run", options=options, overrides=overrides, loop=loop)


def async_engine_of(container: Any, **options: Any) -> Engine:
    """An engine on the running event loop."""
    return engine_of(container, loop=asyncio.get_running_loop(), **options)


def open_all(engine: Engine) -> Any:
    """Open as a blocking lifespan does; the container instance."""
    engine.open(engine.eager(), "the run", in_callers_context=True)
    return engine.instance


async def aopen_all(engine: Engine) -> Any:
    """Open as an asynchronous lifespan does; the container instance."""
    await engine.aopen(engine.eager(), "the run", in_callers_context=True)
    return engine.instance


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run `main` on an event loop of its own, bounded in time."""
    return asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))


async def turns(count: int = 30) -> None:
    """Let everything that is ready run: what has not happened after this waits for something else."""
    for _ in range(count):
        await asyncio.sleep(0)


def poll(condition: Callable[[], object], description: str) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s in vain for: {description}"
        time.sleep(0.001)


async def apoll(condition: Callable[[], object], description: str) -> None:
    """Wait until `condition` holds, from a coroutine."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s in vain for: {description}"
        await asyncio.sleep(0.001)


def in_threads(count: int, function: Callable[[], Any]) -> list[Any]:
    """Call `function` in `count` threads that start at a barrier; what each returned or raised."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def call(index: int) -> None:
        barrier.wait(PATIENCE_SECONDS)
        try:
            results[index] = function()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=call, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "a thread hangs"
    return results
