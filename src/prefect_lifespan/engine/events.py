"""What the engine reports about each opening and closing: events as data, and the log line of each.

A listener hears one lifespan's events, an observer those of all in the process. Lines carry paths, seconds and errors;
never a value or an argument. The cause of a retry, and what an error of closing says, stand there with their secrets
masked, the latter with its traceback: nobody else may ever tell of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from prefect_lifespan.forks import children
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.masking import told, traceback_of

Kind = Literal["opened", "open-failed", "open-retried", "failed", "closed", "close-failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One opening, failure or closing of one resource: its container and path, the seconds it took, and its error if any.

    `outcome` is what a closing told the resource: the exception of the body, None where that succeeded. `opening` is
    the same object in all events of one opening. `lifespan` names whose it was, and `number` counts lifespans.
    """

    kind: Kind
    container: str
    resource: str
    seconds: float
    error: BaseException | None = None
    outcome: BaseException | None = None
    lifetime: Lifetime | None = None
    lifespan: str = ""
    number: int = 0
    opening: object = None

    @property
    def path(self) -> str:
        """The resource's path as it is declared, also where another resource stands in for it."""
        return declared_path(self.resource)

    @property
    def message(self) -> str:
        """The log line."""
        name = f"{self.container}.{self.resource}"
        error = type(self.error).__name__
        match self.kind:
            case "opened":
                return f"Opened {name} in {self.seconds:.3f} s"
            case "open-failed":
                return f"Opening {name} failed after {self.seconds:.3f} s: {error}"
            case "open-retried":
                return f"Opening {name} failed after {self.seconds:.3f} s, and will be tried again: {_said(self.error)}"
            case "failed":
                return f"{name} failed while it was open, after {self.seconds:.3f} s: {_said(self.error)}"
            case "closed":
                return f"Closed {name} in {self.seconds:.3f} s{'' if self.outcome is None else ' after a failure'}"
            case "close-failed":
                return f"Closing {name} failed after {self.seconds:.3f} s: {_said(self.error)}"

    @property
    def traceback(self) -> str:
        """What follows the log line: the traceback of an error of closing."""
        return traceback_of(self.error) if self.kind == "close-failed" and self.error is not None else ""

    @property
    def text(self) -> str:
        """The log line, and what follows it."""
        return "\n".join(part for part in (self.message, self.traceback) if part)

    @property
    def level(self) -> int:
        """The level of the log line, as in the logging module."""
        if self.kind == "open-retried":
            return logging.WARNING
        if self.error is not None:
            return logging.ERROR
        # One for each task, or for each call: a hundred of them would hide what the run itself has opened.
        return logging.DEBUG if self.lifetime is Lifetime.TASK else logging.INFO


def _said(error: BaseException | None) -> str:
    return "" if error is None else told(error)


Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
Listener: TypeAlias = Callable[[Event], None]

library_logger = logging.getLogger("prefect_lifespan")


def declared_path(path: str) -> str:
    """The path of what a provider stands in for; its own where it stands in for nothing."""
    while path.endswith("(override)"):
        path = path.removesuffix("(override)")
    return path


class Observers:
    """Who hears the events of every lifespan in this process, from whatever thread they come."""

    def __init__(self) -> None:
        self._observers: tuple[Listener, ...] = ()
        self._lock = threading.Lock()

    def begin_anew(self) -> None:
        """In a forked child: the same are in force, and nobody holds the lock."""
        self._lock = threading.Lock()

    def add(self, observer: Listener) -> None:
        """Let an observer hear what happens from now on."""
        with self._lock:
            self._observers = (*self._observers, observer)

    def remove(self, observer: Listener) -> None:
        """Let an observer hear no more; one that is none is left alone."""
        with self._lock:
            self._observers = tuple(other for other in self._observers if other != observer)

    def tell(self, event: Event) -> None:
        """Tell every observer; one that raises is dropped with a log line, and never harms the resource."""
        for observer in self._observers:
            try:
                observer(event)
            except Exception:
                library_logger.exception("An observer raised and is dropped")
                self.remove(observer)


observers = Observers()
children.begin_with(observers)


def logging_to(logger: Logger) -> Listener:
    """A listener that writes each event to `logger`."""

    def log(event: Event) -> None:
        level = event.level
        if logger.isEnabledFor(level):
            logger.log(level, "%s", event.text)

    return log


Write: TypeAlias = Callable[[int, str], None]


class ProcessLog:
    """A listener for what lives as long as the process: each event goes to the log of the run that causes it.

    What closes outside any run, at the end of the process, goes to the log of the run that has opened it. `of_this_run`
    gives what writes to the log of the run that the caller is in, None outside one; the layer that knows runs installs it.
    """

    def __init__(self) -> None:
        self.of_this_run: Callable[[], Write | None] = lambda: None
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what the parent has open closes there."""
        self._openers: WeakKeyDictionary[Any, Write] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        write = self.of_this_run()
        with self._lock:
            if event.kind == "opened" and write is not None:
                self._openers[event.opening] = write
            write = write or self._openers.get(event.opening) or _to_the_librarys
        write(event.level, event.text)


def _to_the_librarys(level: int, message: str) -> None:
    library_logger.log(level, "%s", message)


process_log = ProcessLog()
children.begin_with(process_log)
