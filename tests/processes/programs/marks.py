"""What a program under test leaves behind: lines in a file, each written at once, so that a killed process loses none."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

MARKS = os.environ["MARKS"]
ORDERS = os.environ["ORDERS"]  # what the test tells the program
# Longer than any test: programs that several tests share wait for theirs, and all are ended when the tests go away.
PATIENCE_SECONDS = 900


def mark(line: str) -> None:
    """Append a line."""
    file = os.open(MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def ordered(line: str) -> bool:
    """Whether the test has given an order."""
    path = Path(ORDERS)
    return path.exists() and line in path.read_text().splitlines()


def wait_for_order(line: str) -> None:
    """Wait until the test gives an order; nothing interrupts a thread that does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ordered(line):
        if time.monotonic() > deadline:
            raise TimeoutError(line)
        time.sleep(0.02)


async def await_order(line: str) -> None:
    """The same on an event loop."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not ordered(line):  # noqa: ASYNC110 - the order comes from another process
            await asyncio.sleep(0.02)


class Handle:
    """What is injected: whether it is open shows in what a task marks."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "open"


def blocking(name: str, *needs: object) -> Iterator[Handle]:
    """A resource that marks its opening, and its closing with the outcome that reaches it."""
    mark(f"open {name}")
    handle, outcome = Handle(name), "none"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        handle.state = "closed"
        mark(f"close {name} {outcome}")


async def asynchronous(name: str, *needs: object) -> AsyncIterator[Handle]:
    """The same on an event loop."""
    mark(f"open {name}")
    handle, outcome = Handle(name), "none"
    try:
        yield handle
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        handle.state = "closed"
        await asyncio.sleep(0.2 * len(needs))  # what needs more takes longer: side by side it would come last
        mark(f"close {name} {outcome}")


def announce(line: str) -> None:
    """Wake the test that waits for this moment."""
    if line == os.environ.get("MOMENT"):
        with Path(os.environ["ANNOUNCEMENT"]).open("w") as announcement:
            announcement.write(line)


async def quick(name: str, *needs: object) -> AsyncIterator[Handle]:
    """A resource that takes a moment to open and to close, and announces that it has opened."""
    await asyncio.sleep(0.002)
    mark(f"open {name}")
    announce(name)
    try:
        yield Handle(name)
    finally:
        mark(f"close {name}")
        await asyncio.sleep(0.002)


def quick_blocking(name: str, *needs: object) -> Iterator[Handle]:
    """The same without an event loop, where a signal may interrupt any line of it."""
    try:
        time.sleep(0.002)
        mark(f"open {name}")
        announce(name)
        yield Handle(name)
    finally:
        mark(f"close {name}")
        time.sleep(0.002)


def stubborn(name: str, *needs: object) -> Iterator[Handle]:
    """A resource whose closing does not end by itself: only a signal ends it."""
    mark(f"open {name}")
    try:
        yield Handle(name)
    finally:
        mark(f"closing {name}")
        try:
            wait_for_order(f"close {name}")
        finally:
            mark(f"close {name}")


async def slow(name: str, *needs: object) -> AsyncIterator[Handle]:
    """An asynchronous resource whose closing waits for an order."""
    mark(f"open {name}")
    try:
        yield Handle(name)
    finally:
        mark(f"closing {name}")
        try:
            await await_order(f"close {name}")
        finally:
            mark(f"close {name}")
