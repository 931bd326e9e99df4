"""What the engine reports about each opening and closing: events as data, and the log line of each.

Observers of a lifespan hear of that one, those of the process of all in it; the log is one of them. Lines carry paths,
seconds and errors; never a value or an argument. The cause of a retry, and what an error of closing says, stand there with their secrets
masked, the latter with its traceback: nobody else may ever tell of it.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, TypedDict

from prefect_lifespan.errors import UsageError
from prefect_lifespan.forks import children
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.managers import manager
from prefect_lifespan.masking import summary_of, text_of, traceback_of
from prefect_lifespan.signal_safe import under

Kind = Literal["opened", "open-failed", "open-retried", "failed", "closed", "close-failed"]


@dataclass(frozen=True, slots=True)
class Whose:
    """For whom something opens: ids of the flow run and of the task run, the task's name, and the span that they run in.

    `span` is written as W3C's `traceparent`; each is empty where there is none.
    """

    flow_run: str = ""
    task_run: str = ""
    task: str = ""
    span: str = ""


NOBODY = Whose()
THE_PROCESS = "the process"  # the lifespan, by name, of what lives as long as that


@dataclass(frozen=True, slots=True)
class Event:
    """One opening, failure or closing of one resource, told when it has happened.

    Args:
        kind: "opened", "open-failed", "open-retried" (it failed, and will be tried again), "failed" (while it was open),
            "closed" or "close-failed".
        container: the container class's qualified name.
        resource: the path of what was opened; `path` is that of what was declared, where another one stands in for it.
        seconds: how long opening or closing took; of one that failed while it was open, how long it had been.
        lifetime: how long the resource lives.
        lifespan: whose it was, in words; `number` counts the lifespans of a process.
        opening: the same in all events of one opening, and in no others, of any process.
        at: when it had happened, in seconds since the epoch.
        pid: the process that it happened in.
        attempt: which attempt at opening it was; of a closing, which one had opened it.
        whose: the flow run and the task run that it was opened for.
        error_type: the error's type by name; empty without an error.
        error_text: what the error says, its secrets masked.
        error_traceback: where the error was raised, its secrets masked; empty when the event comes from a worker process.
        outcome_type: the type, by name, of the body's exception that a closing told the resource; empty where that succeeded.

    An event is data and nothing else: it can be kept and pickled, and holds neither what was opened nor an exception.
    """

    kind: Kind
    container: str
    resource: str
    seconds: float
    lifetime: Lifetime | None = None
    lifespan: str = ""
    number: int = 0
    opening: str = ""
    at: float = field(default_factory=time.time)
    pid: int = field(default_factory=os.getpid)
    whose: Whose = NOBODY
    error_type: str = ""
    error_text: str = ""
    error_traceback: str = ""
    outcome_type: str = ""
    attempt: int = 1

    @property
    def path(self) -> str:
        """The resource's path as it is declared, also where another resource stands in for it."""
        return declared_path(self.resource)

    @property
    def error(self) -> str:
        """The error's type and what it says, as a line; empty without an error."""
        return f"{self.error_type}: {self.error_text}" if self.error_text else self.error_type

    @property
    def message(self) -> str:
        """The log line."""
        name = f"{self.container}.{self.resource}"
        match self.kind:
            case "opened":
                return f"Opened {name} in {self.seconds:.3f} s"
            case "open-failed":
                return f"Opening {name} failed after {self.seconds:.3f} s: {self.error_type}"
            case "open-retried":
                return f"Opening {name} failed after {self.seconds:.3f} s, and will be tried again: {self.error}"
            case "failed":
                return f"{name} failed while it was open, after {self.seconds:.3f} s: {self.error}"
            case "closed":
                return f"Closed {name} in {self.seconds:.3f} s{' after a failure' if self.outcome_type else ''}"
            case "close-failed":
                return f"Closing {name} failed after {self.seconds:.3f} s: {self.error}"

    @property
    def text(self) -> str:
        """The log line; of an error of closing, which nobody else may ever tell of, its traceback too."""
        traceback = self.error_traceback if self.kind == "close-failed" else ""
        return f"{self.message}\n{traceback}" if traceback else self.message

    @property
    def level(self) -> int:
        """The level of the log line, as in the logging module."""
        return level_of(self.kind, self.lifetime)


def level_of(kind: Kind, lifetime: Lifetime | None) -> int:
    """The level of what happened, as in the logging module."""
    if kind == "open-retried":
        return logging.WARNING
    if kind not in ("opened", "closed"):
        return logging.ERROR
    # One for each task, or for each call: a hundred of them would hide what the run itself has opened.
    return logging.DEBUG if lifetime is Lifetime.TASK else logging.INFO


def opening_of(number: int) -> str:
    """What all events of the opening of a slot with this number have in common."""
    return f"{os.getpid()}-{number}"


class Said(TypedDict, total=False):
    """What an event says of exceptions."""

    error_type: str
    error_text: str
    error_traceback: str
    outcome_type: str


def said_of(error: BaseException | None, outcome: BaseException | None = None) -> Said:
    """The same of an error, and of the outcome that a closing told."""
    said = Said()
    if error is not None:
        said = Said(error_type=type(error).__qualname__, error_text=text_of(error), error_traceback=traceback_of(error))
    if outcome is not None:
        said["outcome_type"] = type(outcome).__qualname__
    return said


class Happening(NamedTuple):
    """An event with what lives in it, for those in this library who look at that and do not send it anywhere."""

    event: Event
    slot: object
    error: BaseException | None
    outcome: BaseException | None


class Use(NamedTuple):
    """How many runs of a task have used a resource in a process; without a task, the flow itself has."""

    path: str
    pid: int
    task: str
    runs: int


Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
Observer: TypeAlias = Callable[[Event], object]
Watcher: TypeAlias = Callable[[Happening], object]

library_logger: Logger = logging.getLogger("prefect_lifespan")


def declared_path(path: str) -> str:
    """The path of what a provider stands in for; its own where it stands in for nothing."""
    while path.endswith("(override)"):
        path = path.removesuffix("(override)")
    return path


class Choosy:
    """An observer of this library's own that says by `hears` of which levels of the log it wants events."""

    __slots__ = ()

    def hears(self, level: int) -> bool:
        """Whether it wants to hear what happens at a level."""
        raise NotImplementedError


class HearsUses:
    """An observer of this library's own that hears of uses too.

    `used` is told the paths of the resources that an injected call needs, and for whom it was called.
    """

    used: Callable[[tuple[str, ...], Whose], None]


class Observers:
    """Who hears events: of one lifespan, or of every lifespan in this process; from whatever thread they come.

    Only what derives from `Choosy` or `HearsUses` is asked for more than to be called: an observer of a user's may
    have attributes of any name.
    """

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._lock = threading.Lock()
        self._let_hear(tuple(observers))

    def _let_hear(self, observers: tuple[Observer, ...]) -> None:
        self.observers = observers
        self.hear_uses: bool = bool(observers) and any(isinstance(each, HearsUses) for each in observers)

    def __bool__(self) -> bool:
        return bool(self.observers)

    def begin_anew(self) -> None:
        """In a forked child: the same are in force, and nobody holds the lock."""
        self._lock = threading.Lock()

    def add(self, observer: Observer) -> None:
        """Let an observer hear what happens from now on."""
        under(self._lock, self._add, observer)

    def _add(self, observer: Observer) -> None:
        self._let_hear((*self.observers, observer))

    def remove(self, observer: Observer) -> None:
        """Let an observer hear no more; one that is none is left alone."""
        under(self._lock, self._remove, observer)

    def _remove(self, observer: Observer) -> None:
        self._let_hear(tuple(other for other in self.observers if other != observer))

    def hear(self, level: int) -> bool:
        """Whether an observer hears events of a level."""
        for observer in self.observers:  # noqa: SIM110 - asked at each opening, and `any` makes a generator
            if not isinstance(observer, Choosy) or observer.hears(level):
                return True
        return False

    def tell(self, event: Event) -> None:
        """Tell every observer; one that raises is dropped with a log line, and never harms the resource."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception as error:
                # Not its traceback: the frames hold what it was about to tell, and the line is in everybody's log.
                library_logger.error("An observer raised and is dropped: %s", summary_of(error))  # noqa: TRY400
                self.remove(observer)

    def tell_use(self, paths: tuple[str, ...], whose: Whose) -> None:
        """Tell who hears of uses that a call for `whose` was given what needs the resources at these paths."""
        for observer in self.observers:
            if isinstance(observer, HearsUses):
                observer.used(paths, whose)


observers: Observers = Observers()
children.begin_with(observers)

watchers: list[Watcher] = []  # of this process; they do not raise


@manager
def observe(observer: Observer) -> Generator[None]:
    """Let `observer` hear of every opening and closing in this process for the body of a `with`.

    An observer is called in whatever thread or event loop it happens in, so it returns soon. One that raises is dropped
    with a log line. Worker processes are others: their events reach the observers of the lifespan, `lifespan(observers=...)`.

    Args:
        observer: a function of an `Event`; not a coroutine function.

    Raises:
        UsageError: it cannot be called like that.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan import lifespan, observe
        >>> class App(containers.DeclarativeContainer):
        ...     db = providers.Resource(lambda: "db")
        >>> with observe(lambda event: print(event.kind, event.path)), lifespan(App):
        ...     pass
        opened db
        closed db
    """
    require_observer(observer)
    observers.add(observer)
    try:
        yield
    finally:
        observers.remove(observer)


def require_observer(observer: object) -> None:
    """Refuse what is no observer.

    Raises:
        UsageError: it cannot be called, or gives a coroutine that nobody awaits.
    """
    if not callable(observer):
        raise UsageError(f"an observer is a function of an Event; {type(observer).__qualname__} cannot be called")
    if inspect.iscoroutinefunction(observer) or inspect.iscoroutinefunction(type(observer).__call__):
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        raise UsageError(
            f"the observer {name} is a coroutine function, and nobody awaits it; write a plain function, `def`"
        )


class _Whose:
    """Says for whom the caller works; the layer that knows runs installs how."""

    here: Callable[[], Whose] = staticmethod(lambda: NOBODY)


whose: _Whose = _Whose()


@dataclass(frozen=True, slots=True)
class _LogLines(Choosy):
    """An observer that writes each event to a logger."""

    logger: Logger

    def hears(self, level: int) -> bool:
        """Whether a line of this level is written at all."""
        return self.logger.isEnabledFor(level)

    def __call__(self, event: Event) -> None:
        if self.hears(event.level):
            self.logger.log(event.level, "%s", event.text)


def logging_to(logger: Logger) -> Observer:
    """An observer that writes each event to `logger`."""
    return _LogLines(logger)


Write: TypeAlias = Callable[[int, str], None]


class ProcessLog:
    """An observer for what lives as long as the process: each event goes to the log of the run that causes it.

    What closes outside any run, at the end of the process, goes to the log of the run that has opened it. `of_this_run`
    gives what writes to the log of the run that the caller is in, None outside one; the layer that knows runs installs it.
    """

    def __init__(self) -> None:
        self.of_this_run: Callable[[], Write | None] = lambda: None
        self.begin_anew()

    def begin_anew(self) -> None:
        """In a forked child: what the parent has open closes there."""
        self._openers: dict[str, Write] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        write = self.of_this_run()
        opener = under(self._lock, self._opener_of, event, write)
        write = write or opener or _to_the_librarys
        write(event.level, event.text)

    def _opener_of(self, event: Event, write: Write | None) -> Write | None:
        if event.kind == "opened" and write is not None:
            self._openers[event.opening] = write
        ended = event.kind in ("closed", "close-failed")
        return self._openers.pop(event.opening, None) if ended else self._openers.get(event.opening)


def _to_the_librarys(level: int, message: str) -> None:
    library_logger.log(level, "%s", message)


process_log: ProcessLog = ProcessLog()
children.begin_with(process_log)
