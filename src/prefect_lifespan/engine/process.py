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
from typing import Any
from weakref import WeakSet

from prefect_lifespan.engine.events import Event
from prefect_lifespan.engine.face import ProcessEngine
from prefect_lifespan.forks import children
from prefect_lifespan.signal_safe import under


@dataclass
class _Entry:
    engine: ProcessEngine
    users: set[object] = field(default_factory=set[object])
    # The engines whose containers share it and that have not closed: a lifespan is a user only when its engine is made.
    holders: WeakSet[Any] = field(default_factory=WeakSet[Any])
    to_close: bool = False


@dataclass(eq=False)
class ProcessEngines:
    """The process's engines, by what they are for; made on demand, kept while lifespans use them.

    Beginning and ending to use one may be done again, by whoever was interrupted in it.
    """

    _entries: dict[Hashable, _Entry] = field(default_factory=dict[Hashable, Any])
    # No longer in use, and who is to close them.
    _unused: dict[ProcessEngine, object] = field(default_factory=dict[Any, object])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _at_exit: bool = False  # whether the end of the process closes them
    _ended: bool = False

    def __post_init__(self) -> None:
        children.begin_with(self)

    def get(self, key: Hashable, make: Callable[[], ProcessEngine], holder: object) -> ProcessEngine:
        """The engine for `key`, which stays open until `holder` has closed; the first to ask makes it."""
        engine = under(self._lock, self._get, key, make, holder)
        if self._ended:
            engine.close()  # threads outlive the end of the process: they are told so, and open nothing again
        return engine

    def _get(self, key: Hashable, make: Callable[[], ProcessEngine], holder: object) -> ProcessEngine:
        self._close_at_the_end()
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(make())
        entry.holders.add(holder)
        return entry.engine

    def release(self, keys: set[Hashable], holder: object) -> None:
        """`holder` has closed."""
        for entry in self._of(keys):
            entry.holders.discard(holder)

    def enter(self, keys: set[Hashable], user: object) -> None:
        """A lifespan begins to use the engines of `keys`."""
        for entry in self._of(keys):
            entry.users.add(user)

    def leave(self, keys: set[Hashable], user: object, *, closing: bool) -> list[ProcessEngine]:
        """A lifespan has ended; the engines that are to be closed now, for the caller to close, and then to `forget`.

        With `closing`, those of `keys` close as soon as no lifespan uses them any more: now, or with the last.
        """
        return under(self._lock, self._leave, keys, user, closing)

    def _leave(self, keys: set[Hashable], user: object, closing: bool) -> list[ProcessEngine]:
        for key in keys & self._entries.keys():
            entry = self._entries[key]
            entry.to_close = entry.to_close or closing
            entry.users.discard(user)
            if entry.to_close and not entry.users and not entry.holders:
                self._unused[entry.engine] = user
                del self._entries[key]
        return [engine for engine, closer in self._unused.items() if closer is user]

    def in_use(self) -> list[ProcessEngine]:
        """The engines that have been made and not closed."""
        return [entry.engine for entry in [*self._entries.values()]]

    def drop(self, engine: ProcessEngine) -> None:
        """Whoever asks next gets another one; the caller, whom no lifespan disturbs, closes this one."""
        under(self._lock, self._drop, engine)

    def _drop(self, engine: ProcessEngine) -> None:
        self._entries = {key: entry for key, entry in self._entries.items() if entry.engine is not engine}

    def forget(self, engine: ProcessEngine) -> None:
        """It has closed."""
        self._unused.pop(engine, None)

    def _of(self, keys: set[Hashable]) -> list[_Entry]:
        entries = dict(self._entries)
        return [entries[key] for key in keys if key in entries]

    def close_all(self) -> None:
        """Close what is open at the end of the process; errors are log lines, for nobody is left to catch them."""
        for engine in reversed(under(self._lock, self._end)):
            engine.close()

    def _end(self) -> list[ProcessEngine]:
        self._ended = True
        return [*self._unused, *(entry.engine for entry in self._entries.values())]

    def heard(self, event: Event) -> None:
        """Something has opened: at the end it closes before what its initialiser has started, as Prefect's own API."""
        if event.kind == "opened":
            atexit.unregister(self.close_all)
            atexit.register(self.close_all)

    def begin_anew(self) -> None:
        """In a forked child: it has opened nothing yet."""
        self._lock = threading.Lock()
        self._entries, self._unused = {}, {}
        self._at_exit = self._ended = False

    def _close_at_the_end(self) -> None:
        if not self._at_exit:
            self._at_exit = True
            # Worker processes end through multiprocessing's finalisers, others through atexit; closing twice does nothing.
            atexit.register(self.close_all)
            multiprocessing.util.Finalize(None, self.close_all, exitpriority=100)


process_engines: ProcessEngines = ProcessEngines()
