"""Who keeps values of open resources at hand, to give them without asking, and is told when one must not be given again."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet


class Keeper(Protocol):
    """Keeps such values: a scope, for injected calls."""

    def withdraw(self) -> None:
        """Keep none of them any more; any thread may say so, and again."""
        ...


class Keepers:
    """Those of one schedule, used under its lock; they are not kept alive."""

    def __init__(self) -> None:
        self._known: WeakSet[Keeper] = WeakSet()

    def add(self, keeper: Keeper) -> None:
        """Tell it from now on. It says so before it looks what is at hand: what is withdrawn meanwhile is told to it."""
        self._known.add(keeper)

    def withdraw(self) -> None:
        """Tell all of them; who keeps something again says so again."""
        for keeper in self._known:
            keeper.withdraw()
        self._known.clear()
