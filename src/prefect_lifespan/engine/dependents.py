"""The engines that stand on another one, as that one closes them: before its own resources, which theirs may need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.schedule.report import CloseReport, Outcome
from prefect_lifespan.engine.slot import SharedSchedule


class Dependent(Protocol):
    """An engine that stands on another one."""

    @property
    def schedule(self) -> SharedSchedule:
        """Where it is at home."""
        ...


E = TypeVar("E", bound=Dependent)


class Dependents(Generic[E]):
    """Those that last as long as the one they stand on, and guests, whose task or call closes them."""

    def __init__(self) -> None:
        self.lasting: list[E] = []
        self._guests: dict[E, None] = {}

    def add(self, engine: E, *, lasts: bool) -> None:
        """An engine has been derived."""
        if lasts:
            self.lasting.append(engine)
        else:
            self._guests[engine] = None

    def all(self) -> list[E]:
        """All that stand on it."""
        return [*self.lasting, *self._guests]

    def closed(self, engine: E) -> None:
        """A guest has closed, as it should."""
        self._guests.pop(engine, None)

    def to_close(self, report: CloseReport) -> Iterator[tuple[E, Outcome]]:
        """What is to be closed now, last made first, and what it is told.

        Guests are still there where a generator holds them that was neither exhausted nor closed; they are told what
        Python tells it. Those of another thread or event loop are in use there, and cannot be closed from here.
        """
        loop = running_loop()
        for guest in reversed(list(self._guests)):
            if guest.schedule.at_home and guest.schedule.loop in (None, loop):
                yield guest, report.told or GeneratorExit()
        for engine in reversed(self.lasting):
            yield engine, report.told
