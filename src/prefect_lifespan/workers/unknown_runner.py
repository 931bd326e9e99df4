"""Task runners that nobody foresaw: their worker processes are not told when a lifespan ends.

They close what they opened when they end, or when it stood unused for long.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.workers.remote_workers import Dumps, Runner, cloudpickled

T = TypeVar("T")

ENDS_WITH_RUNNER = False
dumps: Dumps = cloudpickled


@dataclass(frozen=True, slots=True)
class UnknownWorkers:
    """Leads nowhere, and reaches nobody."""

    is_last_word: bool = False

    @property
    def link(self) -> UnknownWorkers:
        return self

    def join(self, lifespan: str) -> None:
        """Nobody will tell this process."""

    def ends_with(self, runner: object) -> bool:
        """Nothing could be closed from here before that."""
        return False

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Nothing can be closed from here."""
        return CloseReport("", outcome)


def key(runner: Runner) -> Hashable:
    """One for each kind of runner: the log says once in a lifespan what it means."""
    return (__name__, type(runner))


def remote_workers(runner: Runner, lifespan: str) -> UnknownWorkers:
    """Say that the runner's workers will not be told."""
    flow_logger().warning(
        "Nothing is known of how to reach the workers of %s: what they open closes when they end, or when it stood "
        "unused for long, instead of with this lifespan",
        type(runner).__qualname__,
    )
    return UnknownWorkers()


def submitted(runner: Runner, scope: str, submit: Callable[[], T]) -> T:
    """Nothing to do."""
    return submit()
