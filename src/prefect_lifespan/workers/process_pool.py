"""Worker processes of Prefect's ProcessPoolTaskRunner, on this machine: through a channel on the loopback address."""

from __future__ import annotations

import threading
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from typing import Any, cast

from prefect_lifespan.workers.channel import LOOPBACK, ChannelReach, channels
from prefect_lifespan.workers.reach import Dumps, Runner, cloudpickled

dumps: Dumps = cloudpickled

_lock = threading.Lock()
_SCOPE = "_prefect_lifespan_scope"


def key(runner: Runner) -> Hashable:
    """All pools of this process share its channel."""
    return __name__


def reach(runner: Runner, opening: str) -> ChannelReach:
    """The channel, for an opening."""
    return ChannelReach(channels.at(LOOPBACK), opening, dumps)


@contextmanager
def around_submit(runner: Runner, scope: str) -> Generator[None]:
    """Let the runner serialise its context anew when the scope has changed.

    Prefect 3.8 does so once and keeps the result, in a private attribute, which it drops itself at its end; 3.9 does so
    for each submission (tests/contract/test_prefect_context_elsewhere.py).
    """
    with _lock:
        private = cast("Any", runner)
        if getattr(private, _SCOPE, None) != scope:
            private._cached_context = None  # noqa: SLF001
            setattr(private, _SCOPE, scope)
        yield
