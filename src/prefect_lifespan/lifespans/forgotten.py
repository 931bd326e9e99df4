"""Tasks, flows and hooks whose markers nobody provides are refused by name: none of them is ever given a marker.

They are looked for where a lifespan opens (what its flow function names, and what that names), where a task is submitted,
and, for what cannot be seen from there, where Prefect's engine is about to run one.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, TypeAlias, cast

from prefect.cache_policies import NO_CACHE
from prefect.flow_engine import BaseFlowRunEngine
from prefect.flows import Flow
from prefect.task_engine import BaseTaskRunEngine
from prefect.tasks import Task

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.mistakes import Kind, place_of, refusal, unprovided
from prefect_lifespan.injection.plan import of_an_inner_container, plan_of
from prefect_lifespan.lifespans.reachable import reachable
from prefect_lifespan.scope import current_scope

Work: TypeAlias = "Task[..., Any] | Flow[..., Any]"

_HOOKS = (
    "on_running_hooks",
    "on_completion_hooks",
    "on_failure_hooks",
    "on_cancellation_hooks",
    "on_crashed_hooks",
    "on_rollback_hooks",
    "on_commit_hooks",
)
# Other functions of the user's that Prefect calls with arguments of its own.
_CALLBACKS = ("retry_condition_fn", "cache_key_fn", "task_run_name", "flow_run_name")


def refuse_reachable(function: Any, container: ContainerClass) -> None:
    """Refuse a flow function that names, at any depth, a task, flow or hook that would not get what it is marked with.

    `container` is the one that the flow opens.

    Raises:
        UsageError: all that were found, each with its file and line, and the cure.
    """
    works = reachable(function)
    found = [problem for work in works for problem in problems_of(work)]
    if not current_scope().lifespans:  # inside another lifespan a marker may be of that one's container
        found += [problem for work in works for problem in _of_inner_containers(work, container)]
    if found:
        raise UsageError(_listed(found))


def refuse(work: Work, parameters: Mapping[str, object]) -> None:
    """Refuse a task or flow that is about to be called with `parameters`, which leave it a marker.

    Raises:
        UsageError: what was found, and the cure.
    """
    found = list(problems_of(work, parameters))
    if found:
        raise UsageError(_listed(found))


def problems_of(work: Work, parameters: Mapping[str, object] | None = None) -> Iterator[str]:
    """What of a task or flow would be given a marker: its function (with `parameters`, in that call), and its hooks."""
    left = unprovided(work.fn)
    if parameters is not None:
        left = tuple(each for each in left if each.is_left(parameters))
    if left:
        yield refusal(_kind(work), work.fn, left)
    for _, hook in _hooks(work):
        if missing := unprovided(hook):
            yield refusal("hook", hook, missing, f" of the {_kind(work)} {work.name!r}")


def _of_inner_containers(work: Work, container: ContainerClass) -> Iterator[str]:
    plan = plan_of(work.fn)
    for marker in plan.markers.values() if plan is not None else ():
        if problem := of_an_inner_container(marker, container, current_scope()):
            yield f"the {_kind(work)} {place_of(work.fn)}: {problem}"


def _kind(work: Work) -> Kind:
    return "task" if isinstance(work, Task) else "flow"


def _hooks(work: Work) -> Iterator[tuple[str, Any]]:
    for name in _HOOKS:
        yield from ((name, hook) for hook in getattr(work, name, None) or ())
    yield from ((name, hook) for name in _CALLBACKS if callable(hook := getattr(work, name, None)))


def _listed(problems: list[str]) -> str:
    return problems[0] if len(problems) == 1 else "\n  ".join([f"{len(problems)} mistakes:", *problems])


def install() -> None:
    """Let Prefect's engine refuse what nobody else has seen: a task made in a function, looked up at run time, served.

    Prefect has no hook around the call of a task or flow. All of its ways to run one make an engine of one of two base
    classes, whose `__post_init__` is replaced (tests/contract/test_prefect_engines.py).
    """
    for engine, attribute in ((BaseTaskRunEngine, "task"), (BaseFlowRunEngine, "flow")):
        _guard(engine, attribute)


def _guard(engine: Any, attribute: str) -> None:
    post_init = engine.__post_init__
    if hasattr(post_init, "refuses_markers"):
        return

    def __post_init__(self: Any) -> None:  # noqa: N807 - takes its place
        post_init(self)
        work: Work | None = getattr(self, attribute)
        if work is not None and (found := list(problems_of(work, self.parameters))):
            error = UsageError(_listed(found))
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
    for name, hook in list(_hooks(work)):
        if unprovided(hook):
            kept = [each for each in getattr(refusing, name) if each is not hook] if name in _HOOKS else None
            setattr(refusing, name, kept)
    return refusing
