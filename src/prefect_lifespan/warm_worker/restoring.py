"""What a run may change of its process, and the next one finds as it was."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

# Whose loggers say what becomes of a run.
_LOGGERS = ("prefect", "prefect_lifespan")


@contextmanager
def as_it_was(environment: Mapping[str, str]) -> Generator[None]:
    """A run's environment variables for the body; then what it has changed of these parts is as it was."""
    with ExitStack() as stack:
        for part in (_variables(environment), _signals(), _current_loop(), _loggers()):
            stack.enter_context(part)
        yield


@contextmanager
def loop_as_it_was(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """The same for what a run may set on the process's event loop, which is there for the next one."""
    exception_handler, is_debugged = loop.get_exception_handler(), loop.get_debug()
    try:
        yield
    finally:
        for number in signal.Signals:
            loop.remove_signal_handler(number)
        loop.set_exception_handler(exception_handler)
        loop.set_debug(is_debugged)
        # That of the run may have been shut down; threads of one that nobody has any more end.
        loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))


@contextmanager
def _variables(environment: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _signals() -> Generator[None]:
    """Handlers, what is blocked, and timers: one that runs on would end the process, by default, in the next run."""
    timers = {each: signal.getitimer(each) for each in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)}
    handlers, blocked = _handlers(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        for timer, (seconds, interval) in timers.items():
            signal.setitimer(timer, seconds, interval)
        for number, handler in _handlers().items():
            if handler != handlers[number]:
                signal.signal(number, handlers[number])
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _handlers() -> dict[signal.Signals, Any]:
    """Of all signals; those that were not set in Python cannot be set anew there."""
    found = {number: signal.getsignal(number) for number in signal.Signals}
    return {number: handler for number, handler in found.items() if handler is not None}


@contextmanager
def _current_loop() -> Generator[None]:
    """A loop for blocking code that asks for one and closes it; it would have the process's, or after another run none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        if not loop.is_running():  # in a thread that the run has left behind
            loop.close()


@contextmanager
def _loggers() -> Generator[None]:
    """Whether Prefect's loggers and ours are off: `logging.config` turns them off, `logging.disable` all there are, and the
    next run would log nothing.
    """
    off = {name for name, logger in _found().items() if logger.disabled}
    level = logging.root.manager.disable
    try:
        yield
    finally:
        logging.disable(level)
        for name, logger in _found().items():
            logger.disabled = name in off


def _found() -> dict[str, logging.Logger]:
    known = [*logging.root.manager.loggerDict.items()]
    return {name: each for name, each in known if isinstance(each, logging.Logger) and name.split(".")[0] in _LOGGERS}
