"""Seeing a run in Prefect and in traces: settings, events for automations, spans, totals, the run's picture.

All of it is made from `Event`s; none of it may fail a run. It is loaded when something happens for the first time.
"""

import functools

from prefect_lifespan.engine import Event, Observers, observers
from prefect_lifespan.engine.events import Choosy
from prefect_lifespan.forks import children

__all__ = ["install"]


@functools.cache
def _own() -> Observers:
    """Those of this package."""
    from prefect_lifespan.observability.prefect_events import emitted  # noqa: PLC0415
    from prefect_lifespan.observability.process_events import process_events  # noqa: PLC0415
    from prefect_lifespan.observability.spans import traced  # noqa: PLC0415

    own = Observers((emitted, traced, process_events))
    children.begin_with(own)
    return own


class _Seeing(Choosy):
    """An observer that stands for those of this package, so that they are loaded late."""

    def hears(self, level: int) -> bool:
        """Whether one of them does."""
        return _own().hear(level)

    def __call__(self, event: Event) -> None:
        _own().tell(event)


_seeing = _Seeing()


def install() -> None:
    """Let failures become events of Prefect's, and openings and closings spans, and runs hear of what the process shares.

    Doing it twice does nothing.
    """
    observers.remove(_seeing)
    observers.add(_seeing)
