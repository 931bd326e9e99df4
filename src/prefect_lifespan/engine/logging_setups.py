"""What is to be done before an initialiser sets up logging anew; the layer that knows Prefect says what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_lifespan.graph.logging_setup import sets_up_logging


def _nothing(resource: str, function: str) -> None: ...


class LoggingSetups:
    """`before` is given the resource and the function of `logging.config`, in the thread that is about to call it."""

    def __init__(self) -> None:
        self.before: Callable[[str, str], None] = _nothing

    def begins(self, resource: str, initialiser: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """An initialiser is about to be called."""
        if (function := sets_up_logging(initialiser, args, kwargs)) is not None:
            self.before(resource, function)


logging_setups: LoggingSetups = LoggingSetups()
