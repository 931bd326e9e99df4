"""Seeing a run in Prefect and in traces: settings, events for automations, spans, totals, the run's picture.

All of it is made from `Event`s; none of it may fail a run.
"""

from prefect_lifespan.engine import observers
from prefect_lifespan.observability.prefect_events import emitted
from prefect_lifespan.observability.process_events import process_events
from prefect_lifespan.observability.spans import traced

__all__ = ["install"]


def install() -> None:
    """Let failures become events of Prefect's, and openings and closings spans, and runs hear of what the process shares.

    Doing it twice does nothing.
    """
    for observer in (emitted, traced, process_events):
        observers.remove(observer)
        observers.add(observer)
