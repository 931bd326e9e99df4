"""Opens and closes the resources of one container instance: order, failure, outcome, timeouts, threads, loops.

Its modules are loaded with the names that are asked for: a program that only declares and decorates does without most.
"""

import typing

from prefect_lifespan.late_names import late_names

if typing.TYPE_CHECKING:
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
    "whose",
]

if not typing.TYPE_CHECKING:  # type checkers would take every name to be one of this package
    __getattr__ = late_names(
        __name__,
        {
            "contexts": ["passing"],
            "engine": ["Engine"],
            "events": [
                "Event",
                "Observer",
                "Observers",
                "library_logger",
                "logging_to",
                "observe",
                "observers",
                "whose",
            ],
            "interception": ["interceptors"],
            "options": ["Options", "Overrides"],
            "process": ["process_engines"],
            "schedule.report": ["CloseReport"],
            "schedule.states": ["State"],
            "slot": ["Slot", "lifespan_numbers"],
        },
    )
