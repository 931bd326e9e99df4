"""What a warm process keeps open from run to run: the resources that live as long as a process."""

from __future__ import annotations

import asyncio
from time import monotonic

from prefect_lifespan.engine import process_engines


class Kept:
    """Opens them before the first run, looks after them between runs, and closes them at the end."""

    def __init__(self, container: str | None, health_check_seconds: float, runner: asyncio.Runner) -> None:
        self._container = container
        self._health_check_seconds = health_check_seconds
        self._runner = runner
        self._checked = monotonic()
        self._is_ready = False

    def make_ready(self) -> None:
        """Before a run."""

    def close(self) -> None:
        """At the end of the process."""
        process_engines.close_all()
