"""What runs around a call, as the layers below Prefect ask for it: a task run's attempt, where to log, what is drawn.

Nothing down here imports prefect; the layer that does installs its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from prefect_lifespan.engine import library_logger
from prefect_lifespan.engine.events import Logger


@dataclass
class RunContext:
    """What the caller is in.

    `attempt` identifies the attempt of a task run, None outside one; `run` the flow run. `stand_in` gives what is to be provided where a flow
    is only drawn and nothing may open, None elsewhere. `told` is how resources are told how a body ended: a run that
    is suspended has not failed.
    """

    attempt: Callable[[], Hashable | None] = lambda: None
    run: Callable[[], Hashable | None] = lambda: None
    logger: Callable[[], Logger] = lambda: library_logger
    stand_in: Callable[[], object | None] = lambda: None
    told: Callable[[BaseException | None], BaseException | None] = lambda outcome: outcome


run_context: RunContext = RunContext()
