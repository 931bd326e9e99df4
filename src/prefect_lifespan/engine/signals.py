"""Signals that arrive while an event loop closes resources: held back until everything has been tried.

A handler that raises, as Prefect's for SIGTERM does, raises out of the event loop itself. Whoever runs the loop then
closes it, and what was being closed on it never is. So the signal waits for the end of closing, which is bounded. A
blocking closer has no bound, and holds up the loop: a signal still interrupts that.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

from prefect_lifespan.managers import manager

Handler = Callable[[int, FrameType | None], Any]

HELD = (signal.SIGTERM, signal.SIGINT)


class HeldSignals:
    """The process's signals that are held back; the main thread is the only one that handles any."""

    def __init__(self) -> None:
        self._holders = 0
        self._interruptible = False
        self._handlers: dict[int, Handler] = {}
        self._received: list[int] = []

    @manager
    def back(self) -> Generator[None]:
        """Hold signals back for the body, where it runs in the main thread; then let them go on."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._holders += 1
        for number in HELD:
            handler = signal.getsignal(number)
            # By default SIGTERM ends the process at once, and a handler that is not Python's cannot be put back.
            if callable(handler) and handler != self._handle:
                self._handlers[number] = handler
                signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._let_go()

    @manager
    def let_through(self) -> Generator[None]:
        """Let signals interrupt the body: it is blocking, and nothing else could."""
        before, self._interruptible = self._interruptible, True
        try:
            yield
        finally:
            self._interruptible = before

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Prefect puts back the handler it has found, so this one may be called when nothing is held back any more.
        if self._holders and not self._interruptible:
            self._received.append(number)
        else:
            self._handlers[number](number, frame)

    def _let_go(self) -> None:
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        received, self._received = self._received, []
        for number in dict.fromkeys(received):
            signal.raise_signal(number)


held_signals = HeldSignals()
