"""The provider that stands for a singleton of settings in a container instance: made once, whoever is the first to ask."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from prefect_lifespan.engine.tellers import TellingSingleton
from prefect_lifespan.forks import children
from prefect_lifespan.graph.edges import overriding_of
from prefect_lifespan.signal_safe import under

_NOTHING = object()


class MadeOnce(TellingSingleton):
    """A singleton that threads which are the first to ask at the same time share.

    dependency-injector's own makes one for each of them; its thread-safe one has one lock for the whole process, so the
    settings of one run would wait for another run's, and its API. This one's is its own, and nothing but its making is
    done under it.
    """

    _lock: threading.RLock
    _value: object

    def __new__(cls, *_: Any, **__: Any) -> Self:
        # Not in the initialiser, which is not called where a provider is pickled or copied.
        made = super().__new__(cls)
        made._lock, made._value = threading.RLock(), _NOTHING
        children.begin_with(made)
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What was made, or what stands in for it."""
        if overriding_of(self) is not None:
            return self._asked(*args, **kwargs)
        value = self._value
        return under(self._lock, self._made, *args, **kwargs) if value is _NOTHING else value

    def _made(self, *args: Any, **kwargs: Any) -> Any:
        value = self._asked(*args, **kwargs)
        if not asyncio.isfuture(
            value
        ):  # of something asynchronous, which dependency-injector replaces when it is there
            self._value = value
        return value

    def _asked(self, *args: Any, **kwargs: Any) -> Any:
        singleton: Any = super()
        return singleton.__call__(*args, **kwargs)

    def reset(self) -> Any:
        """Forget what was made; the next to ask makes it anew."""
        singleton: Any = super()
        try:
            forgotten = under(self._lock, singleton.reset)
            self._value = _NOTHING
        finally:
            self.withdraw()
        return forgotten

    def begin_anew(self) -> None:
        """In a forked child: a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
