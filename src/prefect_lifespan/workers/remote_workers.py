"""Remote workers, the worker processes of one task runner: how they are told of a lifespan's end, and by which module.

Each kind of runner has a module of its own beside this one, imported when such a runner is met.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
from prefect.task_runners import TaskRunner

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.in_force import Reached

T = TypeVar("T")

Runner = TaskRunner[Any]
Dumps = Callable[[object], bytes]

cloudpickled: Dumps = cast("Any", cloudpickle).dumps


@dataclass(frozen=True, slots=True)
class Joined:
    """A process that will be told when a lifespan ends."""

    farewell: Callable[[CloseReport], None]  # says that it has closed here, on its own or not
    is_lost: Callable[[], bool] | None = None  # whether nobody is left who will tell; None where that comes by itself


class Link(Protocol):
    """Travels with a lifespan, and lets the process that it arrives in hear of its end."""

    @property
    def is_last_word(self) -> bool:
        """Whether the process hears of nothing after that, its own end included, so that it has to close everything."""
        ...

    def join(self, lifespan: str) -> Joined | None:
        """Let this process be told when the lifespan ends; None where nobody will tell.

        Raises:
            HasEnded: it has ended already.
        """
        ...


class HasEnded(Exception):
    """A lifespan that is asked for in another process has ended meanwhile."""


class RemoteWorkers(Reached, Protocol):
    """The worker processes of one task runner, for one lifespan."""

    @property
    def link(self) -> Link:
        """What travels with the lifespan to them."""
        ...


class RunnerModule(Protocol):
    """What a module for a kind of task runner offers."""

    ENDS_WITH_RUNNER: bool  # whether its worker processes end with the runner that they were started by
    dumps: Dumps  # how what its worker processes are to understand is pickled

    def key(self, runner: Runner) -> Hashable:
        """What tells its worker processes from those of other runners; the same for runners that share them."""
        ...

    def remote_workers(self, runner: Runner, lifespan: str) -> RemoteWorkers:
        """How they are reached for a lifespan."""
        ...

    def submitted(self, runner: Runner, scope: str, submit: Callable[[], T]) -> T:
        """What `submit` returns, with what has to be done so that the scope of this key is what travels with it."""
        ...


# By the qualified name of the runner's class, so that nothing is imported that is not in use.
_MODULES = {
    "prefect.task_runners.ProcessPoolTaskRunner": "process_pool",
    "prefect_dask.task_runners.DaskTaskRunner": "dask",
    "prefect_ray.task_runners.RayTaskRunner": "ray",
}
# Their tasks run in this process, or in processes that end on their own terms: task workers.
_NONE = {"prefect.task_runners.ThreadPoolTaskRunner", "prefect.task_runners.PrefectTaskRunner"}


def module_for(runner: Runner) -> RunnerModule | None:
    """The module that knows a task runner; None for one without worker processes that a lifespan could reach."""
    return module_for_kind(type(runner))


def module_for_kind(kind: type) -> RunnerModule | None:
    """The same for a type of task runners."""
    for base in kind.__mro__:
        name = f"{base.__module__}.{base.__qualname__}"
        if name in _NONE:
            return None
        if name in _MODULES:
            return cast("RunnerModule", importlib.import_module(f"{__package__}.{_MODULES[name]}"))
    return cast("RunnerModule", importlib.import_module(f"{__package__}.unknown_runner"))
