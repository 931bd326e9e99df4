"""Prefect's engine refuses what nobody else has seen: a task made in a function, looked up at run time, served.

Prefect has no hook around the call of a task or flow. All of its ways to run one make an engine of one of two base
classes, whose `__post_init__` is replaced (tests/contract/test_prefect_engines.py), when their modules are imported:
Prefect does so at the first run, and it takes a while.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NoReturn, cast

from prefect.cache_policies import NO_CACHE

from prefect_lifespan.errors import UsageError
from prefect_lifespan.importing import when_imported
from prefect_lifespan.injection.mistakes import unprovided
from prefect_lifespan.lifespans.mistakes import STATE_HOOKS, Work, hooks_of, mistakes_of, told
from prefect_lifespan.lifespans.runs_in_flight import count_runs

# The module of each base class, its name, and where its instances hold what they run.
_ENGINES: Mapping[str, tuple[str, str]] = {
    "prefect.task_engine": ("BaseTaskRunEngine", "task"),
    "prefect.flow_engine": ("BaseFlowRunEngine", "flow"),
}


def install() -> None:
    """Guard Prefect's engines, and count their runs, from now on, the imported and the coming; doing it twice does nothing."""
    for name in _ENGINES:
        when_imported(name, _prepare)


def _prepare(module: ModuleType) -> None:
    _guard(module)
    count_runs(module)


def _guard(module: ModuleType) -> None:
    engine_name, attribute = _ENGINES[module.__name__]
    engine: Any = getattr(module, engine_name, None)
    if engine is None:  # it is being imported at this moment, further up
        return
    post_init = engine.__post_init__
    if hasattr(post_init, "refuses_markers"):
        return

    def __post_init__(self: Any) -> None:  # noqa: N807 - takes its place
        post_init(self)
        work: Work | None = getattr(self, attribute)
        if work is not None and (found := list(mistakes_of(work, self.parameters))):
            error = UsageError(told(found))
            if work.isgenerator:  # which the engine does not ask for its function
                raise error
            setattr(self, attribute, _refusing(work, error))

    cast("Any", __post_init__).refuses_markers = True
    engine.__post_init__ = __post_init__


def _refusing(work: Work, error: UsageError) -> Work:
    """A copy that fails with `error` instead of running: its run ends as any that fails, at once."""
    refusing: Any = copy.copy(work)

    def refuse_to_run(*_: Any, **__: Any) -> NoReturn:
        raise error

    cast("Any", refuse_to_run).__signature__ = inspect.signature(work.fn)
    refusing.fn = refuse_to_run
    refusing.retries = 0
    refusing.should_validate_parameters = False  # by types that a marker is not of
    refusing.cache_policy, refusing.retry_condition_fn = NO_CACHE, None
    for name, hook in list(hooks_of(work)):
        if unprovided(hook):
            kept = [each for each in getattr(refusing, name) if each is not hook] if name in STATE_HOOKS else None
            setattr(refusing, name, kept)
    return refusing
