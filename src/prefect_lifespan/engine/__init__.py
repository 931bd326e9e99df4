"""Opens and closes the resources of one container instance: order, failure, outcome, timeouts, threads, loops."""

from prefect_lifespan.engine.contexts import passing
from prefect_lifespan.engine.engine import Engine, process_engines
from prefect_lifespan.engine.events import Event, Listener, library_logger, logging_to, observers
from prefect_lifespan.engine.interception import interceptors
from prefect_lifespan.engine.openings import lifespan_numbers
from prefect_lifespan.engine.options import Options, Overrides
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot

__all__ = [
    "CloseReport",
    "Engine",
    "Event",
    "Listener",
    "Options",
    "Overrides",
    "Slot",
    "State",
    "interceptors",
    "library_logger",
    "lifespan_numbers",
    "logging_to",
    "observers",
    "passing",
    "process_engines",
]
