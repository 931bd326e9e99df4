"""Singletons and factories of a container instance that tell who keeps what they give when it may be another one.

dependency-injector's own tell nobody that they were reset, overridden or given other arguments, so they would have to be
asked at each call. Calling one of these is as fast as calling one of its own: only what changes it takes longer.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from dependency_injector import providers

from prefect_lifespan.engine.awaiting_nothing import AwaitsNothing
from prefect_lifespan.engine.keepers import Keeper, Keepers
from prefect_lifespan.forks import children
from prefect_lifespan.signal_safe import under


class _Lock:
    """One for all: who keeps what is noted when something is called for the first time, and changes are rare."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        children.begin_with(self)

    def begin_anew(self) -> None:
        """In a forked child: a thread of the parent may have held it."""
        self.lock = threading.Lock()


_keeping = _Lock()
_OVERRIDING = ("override", "reset_last_overriding", "reset_override")


class Teller:
    """Mixed into a provider class: a provider that knows who keeps what it gives."""

    _keepers: Keepers | None = None

    def __init_subclass__(cls, *, changes: Iterable[str] = ()) -> None:
        super().__init_subclass__()
        for name in changes:
            setattr(cls, name, _telling(getattr(cls, name)))

    def kept_by(self, keeper: Keeper) -> None:
        """What it gives may be kept from now on: whoever keeps it is told when it is withdrawn."""
        under(_keeping.lock, self._note, keeper)

    def _note(self, keeper: Keeper) -> None:
        if self._keepers is None:
            self._keepers = Keepers()
        self._keepers.add(keeper)

    def withdraw(self) -> None:
        """Let nobody give any more what was kept of it."""
        if self._keepers is not None:
            under(_keeping.lock, self._keepers.withdraw)

    def __getstate__(self) -> None:
        """Who keeps something of it stays behind."""


def _telling(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that changes a provider, and tells of it afterwards: what is kept from then on is what it gives now."""

    @functools.wraps(method)
    def changed(self: Teller, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            self.withdraw()

    return changed


# What a singleton is declared with says nothing of what it has made already.
CHANGES_OF_SINGLETONS = (*_OVERRIDING, "reset")
CHANGES_OF_FACTORIES = (
    *_OVERRIDING,
    *("set_provides", "set_args", "add_args", "clear_args", "set_kwargs", "add_kwargs", "clear_kwargs"),
    *("set_attributes", "add_attributes", "clear_attributes"),
    *("enable_async_mode", "disable_async_mode", "reset_async_mode"),
)


class TellingSingleton(Teller, AwaitsNothing, providers.Singleton[Any], changes=CHANGES_OF_SINGLETONS):
    """Stands in for a singleton."""


class TellingThreadSafeSingleton(
    Teller, AwaitsNothing, providers.ThreadSafeSingleton[Any], changes=CHANGES_OF_SINGLETONS
):
    """Stands in for one that threads make once."""


class TellingFactory(Teller, providers.Factory[Any], changes=CHANGES_OF_FACTORIES):
    """Stands in for a factory."""


_TELLERS: dict[type, type[Any]] = {
    providers.Singleton: TellingSingleton,
    providers.ThreadSafeSingleton: TellingThreadSafeSingleton,
    providers.Factory: TellingFactory,
}


def teller_like(provider: object) -> type[Any] | None:
    """The class of what tells, and stands in for a provider; None for one of the user's own class, or another kind."""
    return _TELLERS.get(type(provider))
