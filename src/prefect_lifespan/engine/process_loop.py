"""The process's own event loop, where it has one that outlives runs: asynchronous resources may live as long there.

A warm process has one (`warm_worker`). Elsewhere each run has a loop of its own, and they live as long as the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from prefect_lifespan.engine.face import ProcessEngine


class ProcessLoop:
    """The loop, and the engines of what lives on it; all of it is used on that loop, or while it stands still."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._engines: dict[Hashable, ProcessEngine] = {}

    def get(self, key: Hashable, make: Callable[[], ProcessEngine]) -> ProcessEngine:
        """The engine for `key`; the first to ask makes it."""
        if key not in self._engines:
            self._engines[key] = make()
        return self._engines[key]

    def in_use(self) -> list[ProcessEngine]:
        """The engines that have been made and not closed."""
        return [*self._engines.values()]

    async def close(self, error: BaseException | None = None) -> None:
        """Close what lives on the loop, with the outcome `error`; whoever asks next opens anew."""
        engines, self._engines = self.in_use(), {}
        for engine in reversed(engines):
            report = await engine.aclose(error)
            if report.interruption is not None:
                raise report.interruption


process_loop: ProcessLoop = ProcessLoop()
