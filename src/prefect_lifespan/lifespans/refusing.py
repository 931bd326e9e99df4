"""What takes the place of a task, a flow or a hook that would be given a marker: it raises the error that says so."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Generator
from typing import Any, NoReturn, cast

from prefect.cache_policies import NO_CACHE

from prefect_lifespan.errors import UsageError
from prefect_lifespan.injection.mistakes import mistake, unprovided
from prefect_lifespan.lifespans.mistakes import STATE_HOOKS, Work, hooks_of, kind_of
from prefect_lifespan.managers import manager


def refusing_work(work: Work, error: UsageError) -> Work:
    """A copy that fails with `error` instead of running: its run ends as any that fails, at once."""
    refusing: Any = copy.copy(work)
    refusing.fn = _raising(error, work.fn)
    refusing.retries = 0
    refusing.should_validate_parameters = False  # by types that a marker is not of
    refusing.cache_policy, refusing.retry_condition_fn = NO_CACHE, None
    for name, hook in list(hooks_of(work)):
        if unprovided(hook):
            kept = [each for each in getattr(refusing, name) if each is not hook] if name in STATE_HOOKS else None
            setattr(refusing, name, kept)
    return refusing


def refusing_hook(hook: Any, of: str = "") -> Any:
    """A hook as it may be called: itself, or what fails in its place, as hooks fail. `of` names whose it is."""
    left = unprovided(hook)
    return _raising(UsageError(mistake("hook", hook, left, of).told), hook) if left else hook


@manager
def hooks_refusing(engine: Any, attribute: str) -> Generator[None]:
    """Let an engine of Prefect's, whose `attribute` is the task or flow, find hooks in it that may be called as they are.

    One may have been added since the engine was made: by the flow itself, while it ran.
    """
    work: Any = getattr(engine, attribute)
    hooks = {name: cast("list[Any]", getattr(work, name, None) or []) for name in STATE_HOOKS}
    if not any(unprovided(hook) for each in hooks.values() for hook in each):
        yield
        return
    refusing, of = copy.copy(work), f" of the {kind_of(work)} {work.name!r}"
    for name, each in hooks.items():
        if each:
            setattr(refusing, name, [refusing_hook(hook, of) for hook in each])
    setattr(engine, attribute, refusing)
    try:
        yield
    finally:
        setattr(engine, attribute, work)


def _raising(error: UsageError, function: Any) -> Callable[..., NoReturn]:
    def refuse_to_run(*_: Any, **__: Any) -> NoReturn:
        raise error

    refusing = cast("Any", refuse_to_run)
    refusing.__name__ = getattr(function, "__name__", type(function).__name__)
    refusing.__signature__ = inspect.signature(function)
    return refuse_to_run
