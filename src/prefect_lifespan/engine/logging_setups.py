"""What is to be done before an initialiser sets up logging anew; the layer that knows Prefect says what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_lifespan.graph import Graph
from prefect_lifespan.graph.logging_setup import sets_up_logging


def _nothing(resource: str, function: str) -> None: ...


class LoggingSetups:
    """`before` is given the resource and the function of `logging.config`, in the thread that is about to call it."""

    def __init__(self) -> None:
        self.before: Callable[[str, str], None] = _nothing

    def begins(self, managed: Any, initialiser: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """The initialiser of a managed resource is about to be called."""
        node = managed.slot.node
        # What is declared is looked at once for all runs of a class.
        if initialiser is node.provider.provides and node.key not in managed.engine.graph.once(_setting_up_logging):
            return
        if (function := sets_up_logging(initialiser, args, kwargs)) is not None:
            self.before(managed.slot.path, function)


def _setting_up_logging(graph: Graph) -> frozenset[int]:
    """The keys of the resources whose initialiser may set up logging, depending on what it is given."""
    resources: list[tuple[int, Any]] = [
        (key, node.provider) for key, node in graph.nodes.items() if node.lifetime is not None
    ]
    return frozenset(
        key for key, each in resources if sets_up_logging(each.provides, each.args, each.kwargs) is not None
    )


logging_setups: LoggingSetups = LoggingSetups()
