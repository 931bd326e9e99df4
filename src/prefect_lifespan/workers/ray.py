"""Worker processes of prefect-ray's RayTaskRunner: through a channel, as no hook of theirs runs when a driver leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import ray
import ray.cloudpickle
import ray.util

from prefect_lifespan.workers.channel import LOOPBACK, ChannelWorkers, channels
from prefect_lifespan.workers.remote_workers import Dumps, Runner

T = TypeVar("T")

ENDS_WITH_RUNNER = False
# Ray's own copy of cloudpickle knows classes of `__main__` that came by it, and takes the same from another for new.
dumps: Dumps = cast("Any", ray.cloudpickle).dumps


class RayWorkers(ChannelWorkers):
    """The workers of the Ray cluster that this process is connected to."""

    def ends_with(self, runner: object) -> bool:
        """Whether the runner has started Ray, and so shuts it down: then no hook runs in its workers."""
        return bool(getattr(runner, "_owns_ray", False))


def key(runner: Runner) -> Hashable:
    """A process is connected to one Ray cluster."""
    return __name__


def remote_workers(runner: Runner, lifespan: str) -> RayWorkers:
    """The channel, for a lifespan; where the cluster has other machines, at an address that they see."""
    _leave_sigterm_to_python()
    nodes = cast("list[dict[str, Any]]", ray.nodes())
    host = LOOPBACK if sum(bool(node["Alive"]) for node in nodes) == 1 else cast("Any", ray.util).get_node_ip_address()
    # Ray ends its workers without a signal: what lives as long as the process closes with the last lifespan in it.
    return RayWorkers(channels.at(host), dumps, is_last_word=True)


def _leave_sigterm_to_python() -> None:
    """Take Ray's handler of the C level off SIGTERM: it calls Python's, and 3 s later aborts the process."""
    handler = signal.getsignal(signal.SIGTERM)
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def submitted(runner: Runner, scope: str, submit: Callable[[], T]) -> T:
    """Nothing to do: the runner serialises the context for each submission."""
    return submit()
