"""What a warm process keeps open from run to run: the resources that live as long as a process."""

from __future__ import annotations

from time import monotonic
from typing import Any

from prefect.logging import get_logger
from prefect.utilities.importtools import import_object

from prefect_lifespan.engine import Engine, Options, Slot, process_engines
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.lifetimes import Lifetime, Policy
from prefect_lifespan.masking import told
from prefect_lifespan.probing import check_health

WHERE = "the warm process"
# What a lifespan has where nothing is said; and how long a check may take: what does not answer is unwell.
_DEFAULTS = Policy(close_timeout_seconds=30.0, retries=0, retry_delay_seconds=1.0)
_CHECK_SECONDS = 10.0

_logger = get_logger("flow_runs.lifespan")


class Kept:
    """Opens them before the first run, looks after them between runs, and closes them at the end."""

    def __init__(self, container: str | None, health_check_seconds: float) -> None:
        self._container = container
        self._health_check_seconds = health_check_seconds
        self._checked: float | None = None

    def make_ready(self) -> None:
        """Before a run: what the container declares is open, and what is open has been well not long ago.

        Raises:
            Exception: of the container's import, or of an initialiser.
        """
        is_first, now = self._checked is None, monotonic()
        if self._checked is None or now - self._checked >= self._health_check_seconds:
            self._checked = now
            if (is_first or self._close_what_is_unwell()) and self._container is not None:
                _open(self._container)

    def close(self) -> None:
        """At the end of the process."""
        process_engines.close_all()

    def _close_what_is_unwell(self) -> bool:
        """Close the engines that have an unwell resource; whoever asks next opens anew. Whether there were any."""
        unwell = {engine: error for engine in process_engines.in_use() if (error := _illness_of(engine)) is not None}
        for engine, error in unwell.items():
            process_engines.drop(engine)
            report = engine.close(error)
            if report.interruption is not None:
                raise report.interruption
        return bool(unwell)


def _illness_of(engine: Engine) -> Exception | None:
    """What the first health check has raised of those that are not well."""
    for slot in engine.open_slots():
        try:
            check_health(slot, _CHECK_SECONDS)
        except Exception as error:
            _logger.warning("%s is unwell, and closes to open anew: %s", slot.path, told(error))
            return error
    return None


def _open(name: str) -> None:
    """Open the process's resources that a container declares, so far as no event loop is needed for it."""
    container: Any = require_container(import_object(name))
    engine = Engine.of(container, name=WHERE, options=Options(_DEFAULTS))
    try:
        wanted: list[Slot] = engine.eager(
            node.key
            for node in graph_of(container).resources
            if node.lifetime is Lifetime.PROCESS and not node.is_async
        )
        engine.open(wanted, WHERE)
    finally:
        engine.close()  # it has nothing of its own: the process's stay open
