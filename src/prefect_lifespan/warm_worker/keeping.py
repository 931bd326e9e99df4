"""What a warm process keeps open from run to run: the resources that live as long as a process."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from prefect.logging import get_logger
from prefect.utilities.importtools import import_object

from prefect_lifespan.engine import Engine, Options, process_engines
from prefect_lifespan.engine.face import ProcessEngine
from prefect_lifespan.engine.process_loop import process_loop
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.findings import require_container
from prefect_lifespan.lifetimes import Lifetime, Policy
from prefect_lifespan.masking import summary_of
from prefect_lifespan.probing import check_health, check_health_on_loop
from prefect_lifespan.warm_worker.running import run_on_loop

WHERE = "the warm process"
# Where nothing is said. One that hangs, as it opens or as it closes, leaves the others time in the worker's grace.
_DEFAULTS = Policy(close_timeout_seconds=20.0, retries=0, retry_delay_seconds=1.0)
# How long a check may take: what does not answer is unwell.
_CHECK_SECONDS = 10.0

_logger = get_logger("flow_runs.lifespan")


class Kept:
    """Opens them before the first run, looks after them between runs, and closes them at the end.

    Asynchronous ones live on the process's event loop, which `runner` has.
    """

    def __init__(self, container: str | None, health_check_seconds: float, runner: asyncio.Runner) -> None:
        self._container = container
        self._health_check_seconds = health_check_seconds
        self._runner = runner
        self._checked: float | None = None
        process_loop.loop = runner.get_loop()

    def make_ready(self) -> None:
        """Before a run: what the container declares is open, and what is open has been well not long ago.

        Raises:
            Exception: of the container's import, or of an initialiser.
        """
        is_first, now = self._checked is None, monotonic()
        if self._checked is None or now - self._checked >= self._health_check_seconds:
            self._checked = now
            if (is_first or self._close_what_is_unwell()) and self._container is not None:
                container: Any = require_container(_imported(self._container))
                run_on_loop(_open(container), self._runner)

    def close(self) -> None:
        """At the end of the process."""
        try:
            run_on_loop(process_loop.close(), self._runner)
        finally:
            process_engines.close_all()

    def _close_what_is_unwell(self) -> bool:
        """Close the engines that have an unwell resource; whoever asks next opens anew. Whether there were any.

        What lives on the loop may need any other one, so all of that closes first.
        """
        illness = run_on_loop(_illness_on_loop(), self._runner)
        unwell = {engine: error for engine in process_engines.in_use() if (error := _illness_of(engine)) is not None}
        if illness is None and not unwell:
            return False
        run_on_loop(process_loop.close(illness), self._runner)
        for engine, error in unwell.items():
            process_engines.drop(engine)
            report = engine.close(error)
            if report.interruption is not None:
                raise report.interruption
        return True


def _imported(name: str) -> object:
    """What the job variable `container` names."""
    try:
        return import_object(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"the job variable container is {name!r}, which cannot be imported ({summary_of(error)}): give it as "
            "package.module:Container, where the worker's processes can import it"
        ) from error


def _illness_of(engine: ProcessEngine) -> Exception | None:
    """What the first health check has raised of those that are not well."""
    for slot in engine.open_slots():
        try:
            check_health(slot, _CHECK_SECONDS)
        except Exception as error:
            return _told(slot.path, error)
    return None


async def _illness_on_loop() -> Exception | None:
    """The same of what lives on the process's loop."""
    for slot in [slot for engine in process_loop.in_use() for slot in engine.open_slots()]:
        try:
            await check_health_on_loop(slot, _CHECK_SECONDS)
        except Exception as error:
            return _told(slot.path, error)
    return None


def _told(path: str, error: Exception) -> Exception:
    _logger.warning("%s is unwell, and closes to open anew: %s", path, summary_of(error))
    return error


async def _open(container: Any) -> None:
    """Open the process's resources that a container declares."""
    loop = asyncio.get_running_loop()
    engine = Engine.of(container, name=WHERE, options=Options(_DEFAULTS), loop=loop)
    try:
        nodes = [node for node in graph_of(container).resources if node.lifetime is Lifetime.PROCESS]
        await engine.aopen(engine.eager(node.key for node in nodes), WHERE)
    finally:
        await engine.aclose()  # it has nothing of its own: the process's stay open
