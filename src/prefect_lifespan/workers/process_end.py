"""The end of a worker process, as far as it is announced: every way in which one ends in order runs one of these."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

Close = Callable[[bool], None]


class _Exits:
    """What is called at the end, with whether that was a signal."""

    def __init__(self) -> None:
        self._closes: list[Close] = []
        self._pid = 0
        self._terminated = False

    def add(self, close: Close) -> None:
        if self._pid != os.getpid():  # a forked child inherits the list, and none of what it closes
            self._pid, self._closes = os.getpid(), []
            # Children of multiprocessing run their finalisers first, and not all of them atexit; others atexit first.
            atexit.register(self.run)
            multiprocessing.util.Finalize(None, self.run, exitpriority=100)
        if close not in self._closes:
            self._closes.append(close)
        if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
            self._end_in_order_on_sigterm()

    def run(self) -> None:
        closes, self._closes = self._closes, []
        for close in closes:
            close(self._terminated)

    def _end_in_order_on_sigterm(self) -> None:
        """Let SIGTERM run the hooks: when one worker of a pool is killed, the pool ends the others by that signal."""
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._exit)

    def _exit(self, signum: int, _: FrameType | None) -> None:
        self._terminated = True
        sys.exit(128 + signum)


_exits = _Exits()


def at_process_end(close: Close) -> None:
    """Call `close` when this process ends, with whether a signal ended it; once, however often it is asked for."""
    _exits.add(close)
