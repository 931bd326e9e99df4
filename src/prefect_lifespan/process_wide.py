"""What is in force in every context of the process: a test's overrides, an application's lifespans.

The threads of an ASGI server's pool, the tasks of its requests and a test's fixtures have contexts of their own. What is
entered here is seen in all of them from then on, and in none any more once it has been taken back.
"""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import WeakSet

from prefect_lifespan.errors import UsageError
from prefect_lifespan.forks import children
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.in_force import InForce
from prefect_lifespan.overrides import EnteredOverride
from prefect_lifespan.signal_safe import under


class Prepared(Protocol):
    """What is prepared for calls somewhere, as long as the same is in force everywhere."""

    def forget(self) -> None:
        """That has changed."""
        ...


class ProcessWide:
    """The overrides and lifespans that every context sees, and the lifespans that are open in any context."""

    def __init__(self) -> None:
        self.overrides: tuple[EnteredOverride, ...] = ()
        self.lifespans: tuple[InForce, ...] = ()
        self.prepared_in: WeakSet[Prepared] = WeakSet()
        self.lock: threading.Lock = threading.Lock()
        self._announced: list[InForce] = []  # that are being opened, and those in force
        self._open: WeakSet[InForce] = WeakSet()

    def add_override(self, override: EnteredOverride) -> None:
        """Let an override be in force everywhere."""
        under(self.lock, self._add_override, override)

    def _add_override(self, override: EnteredOverride) -> None:
        self._forget_prepared()
        self.overrides = (*self.overrides, override)

    def remove_override(self, override: EnteredOverride) -> None:
        """Take it back."""
        under(self.lock, self._remove_override, override)

    def _remove_override(self, override: EnteredOverride) -> None:
        self._forget_prepared()
        self.overrides = tuple(other for other in self.overrides if other is not override)

    def announce(self, lifespan: InForce) -> None:
        """A lifespan is about to be opened for every context.

        Raises:
            UsageError: there is one of its container already.
        """
        under(self.lock, self._announce, lifespan)

    def _announce(self, lifespan: InForce) -> None:
        container = lifespan.container
        if any(other.container is container for other in self._announced):
            raise UsageError(
                f"a lifespan of {container.__qualname__} is in force everywhere already, and there can be one at a "
                "time; leave that one first, or open this one without everywhere=True: then it is in force where it "
                "was entered"
            )
        self._announced.append(lifespan)

    def add(self, lifespan: InForce) -> None:
        """Let a lifespan that was announced be in force everywhere; what contexts have entered themselves stays nearer."""
        under(self.lock, self._add, lifespan)

    def _add(self, lifespan: InForce) -> None:
        if lifespan not in self.lifespans:
            self._forget_prepared()
            self.lifespans = (*self.lifespans, lifespan)

    def remove(self, lifespan: InForce) -> None:
        """Take back a lifespan that was announced; of any other one nothing is in force here."""
        under(self.lock, self._remove, lifespan)

    def _remove(self, lifespan: InForce) -> None:
        if lifespan in self._announced:
            self._forget_prepared()
            self.lifespans = tuple(other for other in self.lifespans if other is not lifespan)
            self._announced.remove(lifespan)

    def note_open(self, lifespan: InForce) -> None:
        """A lifespan is open, in whatever context."""
        under(self.lock, self._open.add, lifespan)

    def open_somewhere(self, container: ContainerClass) -> InForce | None:
        """A lifespan of `container`, or of one that derives from it, that is open in another context; None without one."""
        lifespans = under(self.lock, lambda: list(self._open))
        others = [lifespan for lifespan in lifespans if issubclass(lifespan.container, container)]
        return next((lifespan for lifespan in others if not lifespan.has_ended), None)

    def _forget_prepared(self) -> None:
        # What injection has prepared was found without what comes, or is in what goes. Before that does: nothing more is kept
        # meanwhile, as that takes the lock, and a call that finds the new sees that it was counted without it.
        for ground in list(self.prepared_in):
            ground.forget()
        self.prepared_in.clear()

    def begin_anew(self) -> None:
        """In a forked child: what the parent has open is not open here, and nobody holds the lock."""
        self.lock = threading.Lock()
        self.lifespans = ()
        self._announced.clear()
        self._open = WeakSet()
        self._forget_prepared()


process_wide: ProcessWide = ProcessWide()
children.begin_with(process_wide)
