"""Openings that wait for another one: their stop-watches stand still meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager
from time import perf_counter

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.schedule.commands import Remedy
from prefect_lifespan.engine.schedule.limits import OwnTime
from prefect_lifespan.engine.slot import Slot, being_opened
from prefect_lifespan.managers import manager


@manager
def standing_still(times: Iterable[OwnTime]) -> Generator[None]:
    """Let stop-watches stand still meanwhile."""
    paused = [*times]
    for time in paused:
        time.pause(perf_counter())
    try:
        yield
    finally:
        for time in paused:
            time.resume(perf_counter())


def while_others_open() -> AbstractContextManager[None]:
    """The initialiser that this is called in, if any, waits for what it asked for: its own limit counts on after that."""
    return standing_still(slot.own_time for slot in being_opened.get()[-1:])


def held_up_by(slot: Slot) -> list[OwnTime]:
    """Of what is being opened on the event loop of this thread, which cannot go on until `slot` has been."""
    loop = running_loop()
    if loop is None:
        return []
    others = (other for other in list(slot.openings.opening) if other is not slot and other.opens_on(loop))
    return [other.own_time for other in others if other.place is not None and other.place.remedy is Remedy.STOP]
