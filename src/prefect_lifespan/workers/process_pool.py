"""Worker processes of Prefect's ProcessPoolTaskRunner, on this machine: through a channel on the loopback address."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

from prefect_lifespan.signal_safe import under
from prefect_lifespan.workers.channel import LOOPBACK, ChannelWorkers, channels
from prefect_lifespan.workers.remote_workers import Dumps, Runner, cloudpickled

T = TypeVar("T")

ENDS_WITH_RUNNER = True
dumps: Dumps = cloudpickled

_lock = threading.Lock()
_SCOPE = "_prefect_lifespan_scope"
_POOL = "_prefect_lifespan_pool"


class PoolWorkers(ChannelWorkers):
    """The workers of one pool, which lives as long as its runner: as long as one attempt of a flow run."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(channels.at(LOOPBACK), dumps)
        self._runner = weakref.ref(runner)  # a lifespan may see many runs come and go

    def ends_with(self, runner: object) -> bool:
        """Whether it is this one: its workers are told before that how the flow has ended."""
        return runner is self._runner()


def key(runner: Runner) -> Hashable:
    """One for each pool."""
    return vars(runner).setdefault(_POOL, uuid.uuid4().hex)


def remote_workers(runner: Runner, lifespan: str) -> PoolWorkers:
    """This process's channel, for a lifespan."""
    return PoolWorkers(runner)


def submitted(runner: Runner, scope: str, submit: Callable[[], T]) -> T:
    """Let the runner serialise its context anew when the scope has changed.

    Prefect 3.8 does so once and keeps the result, in a private attribute, which it drops itself at its end; 3.9 does so
    for each submission (tests/contract/test_prefect_context_elsewhere.py).
    """

    def submit_in_scope() -> T:
        private = cast("Any", runner)
        if getattr(private, _SCOPE, None) != scope:
            private._cached_context = None  # noqa: SLF001
            setattr(private, _SCOPE, scope)
        return submit()

    return under(_lock, submit_in_scope)
