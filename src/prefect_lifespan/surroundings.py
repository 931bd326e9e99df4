"""What runs around a call, as the layers below Prefect ask for it: the attempt of a task run, and where to log.

Nothing down here imports prefect; the layer that does installs its answers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from prefect_lifespan.engine import library_logger
from prefect_lifespan.engine.events import Logger


@dataclass
class Surroundings:
    """`attempt` identifies the attempt of the task run that the caller is in, None outside one."""

    attempt: Callable[[], Hashable | None] = lambda: None
    logger: Callable[[], Logger] = lambda: library_logger


surroundings = Surroundings()
