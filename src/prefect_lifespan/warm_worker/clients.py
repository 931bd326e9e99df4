"""The process's clients of Prefect's API, open from run to run.

A client for each use, as Prefect makes them where it finds none, costs a run more than all else before its first line: each
reads the certificates and connects anew. Prefect finds these in the context, and has them for whatever runs there: the
asynchronous one on the process's event loop, the other one everywhere else.
"""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import AsyncExitStack

from prefect.context import AsyncClientContext, SyncClientContext

from prefect_lifespan.warm_worker.engine_parts import share_tls_contexts


class Clients:
    """Both clients, from the first run on; they are in the context that the process's event loop has."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._stack = AsyncExitStack()
        self._are_open = False
        share_tls_contexts()

    def context(self) -> contextvars.Context:
        """A context for one run, in which Prefect finds them.

        Raises:
            Exception: the API cannot be reached; the next run tries again.
        """
        return self._runner.run(self._context())

    def close(self) -> None:
        """At the end of the process."""
        self._runner.run(self._stack.aclose())

    async def _context(self) -> contextvars.Context:
        if not self._are_open:
            async with AsyncExitStack() as stack:
                stack.enter_context(SyncClientContext())
                await stack.enter_async_context(AsyncClientContext())
                self._stack = stack.pop_all()
            self._are_open = True
        return contextvars.copy_context()
