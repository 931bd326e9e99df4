"""Runs of tasks and flows are in flight from their start in Prefect's engine, which is before their function's.

The engine awaits the API before it calls the function, and hooks, rollbacks and retries come after it: what is injected
there is the lifespan's, too. Prefect has no hook around a run. Each of its engines enters `start` around all of one
(tests/contract/test_prefect_engines.py).
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import ModuleType
from typing import Any, cast

from prefect_lifespan.in_flight import RunningCall
from prefect_lifespan.lifespans.futures import name_of_run
from prefect_lifespan.managers import async_manager, manager
from prefect_lifespan.scope import current_scope


def count_runs(module: ModuleType) -> None:
    """Let lifespans know of every run that the engines of a module of Prefect's begin in them."""
    for name, (attribute, counted) in _ENGINES.items():
        engine = getattr(module, name, None)
        if engine is not None:
            _count(engine, attribute, counted)


def _count(engine: Any, attribute: str, counted: Callable[..., Any]) -> None:
    start = engine.start
    if hasattr(start, "counts_runs"):
        return

    @functools.wraps(start)
    def counting_start(self: Any, *args: Any, **kwargs: Any) -> Any:
        started = start(self, *args, **kwargs)
        work = getattr(self, attribute)
        if work.isgenerator:  # whose caller may never ask for its end
            return started
        return counted(started, _Name(self, attribute))

    cast("Any", counting_start).counts_runs = True
    engine.start = counting_start


class _Name:
    """What a run is called: as its future is, where it has an id by then."""

    def __init__(self, engine: Any, attribute: str) -> None:
        self._engine = engine
        self._attribute = attribute

    def __str__(self) -> str:
        name = getattr(self._engine, self._attribute).name
        task_run = getattr(self._engine, "task_run", None)
        return f"{self._attribute} {name!r}" if task_run is None else name_of_run(name, task_run.id)


@manager
def _counted(started: AbstractContextManager[Any], name: _Name) -> Generator[Any]:
    run = RunningCall()
    try:
        try:
            run.begin_beside(current_scope(), name)
            with started as engine: yield engine  # noqa: E701 # fmt: skip
        finally:
            run.end()
    except BaseException:
        run.end()
        raise


@async_manager
async def _counted_async(started: AbstractAsyncContextManager[Any], name: _Name) -> AsyncGenerator[Any]:
    run = RunningCall()
    try:
        try:
            run.begin(current_scope().flight, name)
            async with started as engine: yield engine  # noqa: E701 # fmt: skip
        finally:
            run.end()
    except BaseException:
        run.end()
        raise


_ENGINES: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "SyncTaskRunEngine": ("task", _counted),
    "AsyncTaskRunEngine": ("task", _counted_async),
    "FlowRunEngine": ("flow", _counted),
    "AsyncFlowRunEngine": ("flow", _counted_async),
}
