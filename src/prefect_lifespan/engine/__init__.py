"""Opens and closes the resources of one container instance: order, failure, outcome, timeouts, threads, loops."""

from prefect_lifespan.engine.contexts import passing
from prefect_lifespan.engine.engine import Engine
from prefect_lifespan.engine.events import (
    Event,
    Observer,
    Observers,
    library_logger,
    logging_to,
    observe,
    observers,
    whose,
)
from prefect_lifespan.engine.interception import interceptors
from prefect_lifespan.engine.options import Options, Overrides
from prefect_lifespan.engine.process import process_engines
from prefect_lifespan.engine.process_loop import process_loop
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot, lifespan_numbers

__all__ = [
    "CloseReport",
    "Engine",
    "Event",
    "Observer",
    "Observers",
    "Options",
    "Overrides",
    "Slot",
    "State",
    "interceptors",
    "library_logger",
    "lifespan_numbers",
    "logging_to",
    "observe",
    "observers",
    "passing",
    "process_engines",
    "process_loop",
    "whose",
]
