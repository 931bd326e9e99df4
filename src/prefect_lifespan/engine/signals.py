"""Signals that arrive while an event loop opens or closes resources: held back until they do no harm.

A handler that raises, as Prefect's for SIGTERM does, raises wherever the main thread is. In a callback of the event loop
asyncio logs the exception and goes on, with what the callback was to do undone. `SystemExit` and `KeyboardInterrupt` leave
the loop itself: whoever runs it then closes it, and what was being closed on it never is.

So a signal that arrives while resources open wakes the task that opens them, and its handler is called there; one more that
arrives before that interrupts what runs, in case that never comes to an end. While resources close, all wait until everything has been tried,
which is bounded. A blocking initialiser or closer holds up the loop: a signal interrupts that.
"""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, cast

from prefect_lifespan.forks import children
from prefect_lifespan.managers import manager

Handler = Callable[[int, FrameType | None], Any]
Wake = Callable[[], object]

HELD = (signal.SIGTERM, signal.SIGINT)

# Before Python 3.13 the two functions look each answer up among the names of constants: for a handler they make an error that
# shows it, and drop that. Asyncio's handler shows the main task, which takes longer than some resources take to open. So what
# the two call is called here (tests/contract/test_signals.py).
handler_of: Callable[[int], object]
handle_by: Callable[[int, Handler], object]
if sys.version_info >= (3, 13):
    handler_of, handle_by = signal.getsignal, signal.signal
else:
    _in_c = cast("Any", importlib.import_module("_signal"))
    handler_of, handle_by = _in_c.getsignal, _in_c.signal


class _StandIn:
    """Stands in for a handler, and goes on doing so for who has found it in force and puts it back or calls it later."""

    def __init__(self, held: HeldSignals, instead_of: Handler) -> None:
        self._held = held
        self.instead_of = instead_of

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._held.takes(number):
            self.instead_of(number, frame)


class HeldSignals:
    """The process's signals that are held back; the main thread is the only one that handles any."""

    def __init__(self) -> None:
        self._holders: dict[object, Wake | None] = {}
        self._interruptible = False
        self._standing_in: dict[int, _StandIn] = {}
        self._received: list[int] = []
        children.begin_with(self)

    def begin_anew(self) -> None:
        """In a forked child: what the parent opens and closes holds nothing back here, and nobody releases it."""
        self._holders.clear()
        self._received.clear()
        self._interruptible = False
        self._hand_back()

    @manager
    def back(self, wake: Wake | None = None) -> Generator[None]:
        """Hold signals back for the body, where it runs in the main thread; then let them go on.

        With `wake`, which is called when the first arrives, the body is to `deliver` it.
        """
        if not _in_main_thread():
            yield
            return
        holder = object()
        try:
            try:
                self._stand_in()
                self._holders[holder] = wake
                yield
            finally:
                self._release(holder)
        finally:  # where a signal has interrupted that
            self._release(holder)

    @manager
    def let_through(self) -> Generator[None]:
        """Let signals interrupt the body, in the main thread: it is blocking, and nothing else could."""
        if not _in_main_thread():
            yield
            return
        before = self._interruptible
        try:
            try:
                self._interruptible = True
                yield
            finally:
                self._interruptible = before
        finally:  # where a signal has interrupted that
            self._interruptible = before

    @property
    def are_held(self) -> bool:
        """Whether somebody holds signals back."""
        return bool(self._holders)

    def deliver(self) -> None:
        """Let what has arrived go on, unless something closes; nothing outside the main thread.

        Raises:
            BaseException: the first that a handler raises; all are called.
        """
        if self._received and _in_main_thread() and not self._closes:
            received, self._received = dict.fromkeys(self._received), []
            raised = [error for error in map(self._handled, received) if error is not None]
            if raised:
                raise raised[0]

    def takes(self, number: int) -> bool:
        """Whether a signal that has arrived is held back."""
        if not self._holders or self._interruptible:
            return False
        if number in self._received and not self._closes:
            return False  # whoever is to deliver the one before does not come to that
        self._received.append(number)
        for wake in list(self._holders.values()):
            if wake is not None:
                wake()
        return True

    @property
    def _closes(self) -> bool:
        """Whether somebody closes something."""
        return None in self._holders.values()

    def _stand_in(self) -> None:
        for number in HELD:
            handler = handler_of(number)
            # By default SIGTERM ends the process at once, and a handler that is not Python's cannot be put back.
            if isinstance(handler, _StandIn):  # put back perhaps by whoever has found it
                self._standing_in[number] = handler
            elif callable(handler):
                self._standing_in[number] = _StandIn(self, handler)
                handle_by(number, self._standing_in[number])

    def _release(self, holder: object) -> None:
        self._holders.pop(holder, None)
        if not self._holders:
            self._hand_back()
            self.deliver()

    def _hand_back(self) -> None:
        for number, standing in list(self._standing_in.items()):
            handler = handler_of(number)
            if handler is standing:
                handle_by(number, standing.instead_of)
            self._standing_in.pop(number, None)

    def _handled(self, number: int) -> BaseException | None:
        """What the handler raises. It is called, and the signal not sent anew: asyncio hears of each that is sent."""
        handler = handler_of(number)
        if isinstance(handler, _StandIn):
            handler = handler.instead_of
        try:
            if callable(handler):
                handler(number, None)
            else:
                signal.raise_signal(number)
        except BaseException as error:
            return error
        return None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


held_signals: HeldSignals = HeldSignals()
