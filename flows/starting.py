"""What takes long and needs nobody to watch it, begun at once in a thread, so that something else can be shown meanwhile."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def begun(function: Callable[[], T]) -> Future[T]:
    """The outcome of a function that runs in a thread from now on.

    The thread is a daemon: whoever presses Ctrl-C meanwhile does not wait for it.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # told to whoever asks for the result
            outcome.set_exception(error)

    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    return outcome
