"""Closing what other processes have opened for a lifespan: before its own resources, with its outcome, each of them once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prefect.context import FlowRunContext

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.awaiting import uninterrupted
from prefect_lifespan.in_force import InForce, Reached
from prefect_lifespan.run_context import run_context


def told_now(report: CloseReport) -> BaseException | None:
    """What the run's resources are told that close now."""
    return run_context.told(report.told) or report.interruption


class Elsewhere:
    """The processes that a lifespan has reached; where it joined another one, those that end with its run.

    `hear` takes what one of them reports, `left` gives the seconds that tasks there still have, None for no limit.
    """

    def __init__(
        self,
        in_force: InForce,
        *,
        joined: bool,
        hear: Callable[[CloseReport], CloseReport],
        left: Callable[[], float | None],
    ) -> None:
        self._in_force = in_force
        self._joined = joined
        self._hear = hear
        self._left = left
        self._to_close: list[Reached] | None = None

    def close(self, report: CloseReport) -> None:
        """Close there, and wait for it; called again where a signal has interrupted it, it goes on with the others."""
        to_close = self._still_open()
        while to_close:
            reached = to_close[-1]
            try:
                report.merge(self._hear(reached.close(told_now(report), self._left())))
            finally:  # once each: a second signal leaves it to end by itself
                to_close.remove(reached)

    async def aclose(self, report: CloseReport) -> None:
        """The same on the running event loop."""
        to_close = self._still_open()
        while to_close:
            reached = to_close[-1]
            closing = asyncio.to_thread(reached.close, told_now(report), self._left())
            try:
                report.interrupted(await uninterrupted(closing, lambda other: report.merge(self._hear(other))))
            finally:
                to_close.remove(reached)

    def _still_open(self) -> list[Reached]:
        if self._to_close is None:
            self._to_close = self._ending_with_the_run() if self._joined else self._in_force.elsewhere()
        return self._to_close

    def _ending_with_the_run(self) -> list[Reached]:
        run = FlowRunContext.get()
        # A block that joined has no run of its own that could end.
        if run is None or self._in_force.pending is None:
            return []
        return self._in_force.ending_with(run.task_runner)
