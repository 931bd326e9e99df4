"""The clocks of openings that wait for each other: time that one waits does not count towards its own limit."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.schedule.clock import Clock
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.managers import GeneratorManager, manager


@manager
def standing_still(clocks: Iterable[Clock]) -> Generator[None]:
    """Let clocks stand still meanwhile."""
    paused = [*clocks]
    for clock in paused:
        clock.pause(perf_counter())
    try:
        yield
    finally:
        for clock in paused:
            clock.resume(perf_counter())


def while_others_open() -> AbstractContextManager[None]:
    """The initialiser that this is called in, if any, waits for what it asked for: its own limit counts on after that."""
    opening = being_opened.get()
    return standing_still(_clocks_of(opening[-1:])) if opening else nullcontext()


def while_holding_the_loop(slot: Slot) -> GeneratorManager[None]:
    """What is being opened on the event loop of this thread cannot go on until `slot` has been."""
    loop = running_loop()
    held = [] if loop is None else [other for other in list(slot.schedule.opening) if other is not slot]
    return standing_still(_clocks_of(other for other in held if other.place is not None and other.place.loop is loop))


def _clocks_of(slots: Iterable[Slot]) -> Iterable[Clock]:
    for slot in slots:
        if slot.claim is not None:
            yield slot.claim.attempt
