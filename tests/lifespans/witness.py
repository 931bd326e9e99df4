"""What the tests of runs share: resources that remember when they were opened, used and closed, and with what."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from prefect.task_runners import ThreadPoolTaskRunner

T = TypeVar("T")

SECONDS = 20.0  # how long anything in these tests is waited for, at most


class Handle:
    """One opening of a resource: its name, its number, and whether it may still be used."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.is_open = True

    def __repr__(self) -> str:
        return f"{self.name}#{self.number}"

    def use(self) -> int:
        """Use it, which a closed one cannot stand; its number."""
        assert self.is_open, f"{self!r} was used after it had been closed"
        return self.number


class Witness:
    """Opens handles, and keeps a record of all it saw, in order; any thread may tell it more."""

    def __init__(self) -> None:
        self.record: list[str] = []
        self.outcomes: list[BaseException | None] = []
        self.handles: list[Handle] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def tell(self, what: str) -> None:
        """Add a line to the record."""
        with self._lock:
            self.record.append(what)

    def count(self, what: str) -> int:
        """How often a line stands in the record."""
        return self.record.count(what)

    def opens(self, name: str) -> Handle:
        """A new handle, on record."""
        with self._lock:
            handle = Handle(name, next(self._numbers))
            self.handles.append(handle)
            self.record.append(f"open {name}")
        return handle

    def closes(self, handle: Handle, outcome: BaseException | None) -> None:
        """The end of a handle, on record."""
        handle.is_open = False
        with self._lock:
            self.record.append(f"close {handle.name}")
            self.outcomes.append(outcome)

    def blocking(self, name: str = "db") -> Iterator[Handle]:
        """A resource as a generator."""
        handle, outcome = self.opens(name), None
        try:
            yield handle
        except BaseException as error:
            outcome = error
            raise
        finally:
            self.closes(handle, outcome)

    async def asynchronous(self, name: str = "api") -> AsyncIterator[Handle]:
        """The same as an asynchronous generator."""
        handle, outcome = self.opens(name), None
        try:
            yield handle
        except BaseException as error:
            outcome = error
            raise
        finally:
            self.closes(handle, outcome)


class Gate:
    """A door between threads: one waits at it, another sees that and opens it."""

    def __init__(self, parties: int = 1) -> None:
        self._arrivals = threading.Semaphore(0)
        self._parties = parties
        self._open = threading.Event()

    def wait(self) -> None:
        """Arrive, and wait until the door opens."""
        self._arrivals.release()
        assert self._open.wait(SECONDS), "nobody opened the gate"

    def arrived(self) -> None:
        """Wait until all parties wait at the door."""
        for _ in range(self._parties):
            assert self._arrivals.acquire(timeout=SECONDS), "nobody came to the gate"

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._open.set()


def until(condition: Callable[[], object], description: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {description}"
        time.sleep(0.005)


def in_threads(*calls: Callable[[], T]) -> list[Future[T]]:
    """Start each call in a thread of its own that knows the API: a copy of this context goes with it."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [pool.submit(contextvars.copy_context().run, call) for call in calls]


def state_of(run: Any, *args: Any, **kwargs: Any) -> Any:
    """The final state of a run of a flow, synchronous or asynchronous."""
    returned = run(*args, return_state=True, **kwargs)
    return asyncio.run(returned) if asyncio.iscoroutine(returned) else returned


def threads(number: int) -> Any:
    """A task runner with so many threads; Prefect's own type of it does not fit its own parameter."""
    return ThreadPoolTaskRunner(max_workers=number)
