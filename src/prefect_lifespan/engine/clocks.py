"""How long an opening takes by itself: time in which it waits for another one's turn does not count towards its limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from time import perf_counter
from typing import Any

from prefect_lifespan.managers import manager

_TICK_SECONDS = 0.01  # between two looks at a clock that stands still shortly before its limit


class Clock:
    """Stands still while it is paused, by however many; who pauses it runs in the thread that it measures."""

    def __init__(self) -> None:
        self._pauses = 0
        self._paused_at: float | None = None
        self._away = 0.0
        self._started = perf_counter()

    def start(self) -> None:
        """Begin anew, and go."""
        self._pauses, self._paused_at, self._away, self._started = 0, None, 0.0, perf_counter()

    @property
    def seconds(self) -> float:
        """How long it has gone since it was started."""
        paused_at = self._paused_at
        return (perf_counter() if paused_at is None else paused_at) - self._started - self._away

    def pause(self) -> None:
        """Stand still until it has been resumed as often as paused."""
        self._pauses += 1
        if self._paused_at is None:
            self._paused_at = perf_counter()

    def resume(self) -> None:
        """Go on, unless somebody else still waits."""
        if not self._pauses:
            return  # it was started meanwhile
        self._pauses -= 1
        if not self._pauses and self._paused_at is not None:
            self._away += perf_counter() - self._paused_at
            self._paused_at = None


@manager
def standing_still(clocks: Iterable[Clock]) -> Generator[None]:
    """Let clocks stand still meanwhile."""
    paused = [*clocks]
    for clock in paused:
        clock.pause()
    try:
        yield
    finally:
        for clock in paused:
            clock.resume()


def done_in_time(future: Future[Any], left: Callable[[], float | None]) -> bool:
    """Wait for a future in another thread; False when the time `left` for it has come to nothing before."""
    while not future.done():
        seconds = left()
        if seconds is not None and seconds <= 0:
            return False
        wait([future], timeout=None if seconds is None else max(seconds, _TICK_SECONDS))
    return True


@manager
def at_its_end(left: Callable[[], float | None], then: Callable[[], object]) -> Generator[None]:
    """Call `then` on the running event loop when the time `left` comes to nothing meanwhile; None: it never does."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def look() -> None:
        seconds = left()
        if seconds is not None and seconds <= 0:
            then()
        elif seconds is not None:
            timers[:] = [loop.call_later(max(seconds, _TICK_SECONDS), look)]

    seconds = left()
    if seconds is not None:
        timers[:] = [loop.call_later(max(seconds, 0.0), look)]
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
