"""Engines for resources that live as long as the process: one for each container class that declares such.

They are opened in threads of their own, so that whoever asks first does not matter, and closed in those: at the end of
the process, or when the last lifespan leaves after a `with lifespan(...)` had been the outermost.
"""

from __future__ import annotations

import atexit
import multiprocessing.util
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakSet

from prefect_lifespan.forks import children

if TYPE_CHECKING:
    from prefect_lifespan.engine.engine import Engine
    from prefect_lifespan.engine.events import Event

E = TypeVar("E", bound="Engine")


@dataclass
class _Entry(Generic[E]):
    engine: E
    users: int = 0
    # The engines whose containers share it and that have not closed: a lifespan is a user only when its engine is made.
    holders: WeakSet[Engine] = field(default_factory=WeakSet["Engine"])
    to_close: bool = False


@dataclass(eq=False)
class ProcessEngines(Generic[E]):
    """The process's engines, by what they are for; made on demand, counted while lifespans use them."""

    _entries: dict[Hashable, _Entry[E]] = field(default_factory=dict[Hashable, "_Entry[E]"])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _at_exit: bool = False  # whether the end of the process closes them
    _ended: bool = False

    def __post_init__(self) -> None:
        children.begin_with(self)

    def get(self, key: Hashable, make: Callable[[], E], holder: Engine) -> E:
        """The engine for `key`, which stays open until `holder` has closed; the first to ask makes it."""
        with self._lock:
            self._close_at_the_end()
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(make())
            entry.holders.add(holder)
        if self._ended:
            entry.engine.close()  # threads outlive the end of the process: they are told so, and open nothing again
        return entry.engine

    def release(self, keys: set[Hashable], holder: Engine) -> None:
        """`holder` has closed."""
        with self._lock:
            for key in keys & self._entries.keys():
                self._entries[key].holders.discard(holder)

    def enter(self, keys: set[Hashable]) -> None:
        """A lifespan begins to use the engines of `keys`."""
        with self._lock:
            for key in keys & self._entries.keys():
                self._entries[key].users += 1

    def leave(self, keys: set[Hashable], *, closing: bool) -> list[E]:
        """A lifespan has ended; the engines that are to be closed now, for the caller to close.

        With `closing`, those of `keys` close as soon as no lifespan uses them any more: now, or with the last.
        """
        with self._lock:
            ended: list[E] = []
            for key in keys & self._entries.keys():
                entry = self._entries[key]
                entry.users -= 1
                entry.to_close = entry.to_close or closing
                if entry.to_close and entry.users <= 0 and not entry.holders:
                    ended.append(self._entries.pop(key).engine)
            return ended

    def close_all(self) -> None:
        """Close what is open at the end of the process; errors are log lines, for nobody is left to catch them."""
        with self._lock:
            self._ended = True
            entries = list(self._entries.values())
        for entry in reversed(entries):
            entry.engine.close()

    def heard(self, event: Event) -> None:
        """Something has opened: at the end it closes before what its initialiser has started, as Prefect's own API."""
        if event.kind == "opened":
            atexit.unregister(self.close_all)
            atexit.register(self.close_all)

    def begin_anew(self) -> None:
        """In a forked child: it has opened nothing yet."""
        self._lock = threading.Lock()
        self._entries = {}
        self._at_exit = self._ended = False

    def _close_at_the_end(self) -> None:
        if not self._at_exit:
            self._at_exit = True
            # Worker processes end through multiprocessing's finalisers, others through atexit; closing twice does nothing.
            atexit.register(self.close_all)
            multiprocessing.util.Finalize(None, self.close_all, exitpriority=100)
