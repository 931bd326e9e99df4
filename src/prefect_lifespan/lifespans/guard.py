"""Prefect refuses what nobody else has seen: a task made in a function, looked up at run time, served; a hook added late.

Prefect has no hook around the call of a task or flow. All of its ways to run one make an engine of one of two base
classes, whose `__post_init__` is replaced. Replaced as well are what binds the arguments of a call before that, and what
calls state hooks and hooks of transactions, in the engines and where a runner calls hooks of a run that it has ended
(tests/contract/test_prefect_engines.py, tests/contract/test_prefect_hook_calls.py). That is done when their modules are
imported: Prefect does so at the first run, and it takes a while.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from types import ModuleType
from typing import Any, cast

from prefect.exceptions import ParameterBindError
from prefect.tasks import Task

from prefect_lifespan.errors import UsageError
from prefect_lifespan.importing import when_imported
from prefect_lifespan.injection.mistakes import Kind, mistake, unprovided
from prefect_lifespan.lifespans.forgotten import refuse
from prefect_lifespan.lifespans.mistakes import Work, mistakes_of, told
from prefect_lifespan.lifespans.refusing import hooks_refusing, refusing_hook, refusing_work
from prefect_lifespan.lifespans.runs_in_flight import count_runs
from prefect_lifespan.signal_safe import awaited_within, within

# What is replaced: where it stands, under which name, and by what.
Replacement = tuple[Any, str, Any]


def install() -> None:
    """Guard Prefect's modules, and count the runs of its engines, from now on, the imported and the coming.

    Doing it twice does nothing.
    """
    for name in _GUARDS:
        when_imported(name, _guard)
    for name in ("prefect.task_engine", "prefect.flow_engine"):
        when_imported(name, count_runs)
    main = sys.modules["__main__"]
    if PurePath(getattr(main, "__file__", None) or "").parts[-3:] == _RUN_AS_A_SCRIPT:
        _replace(_runners(main))


def _guard(module: ModuleType) -> None:
    _replace(_GUARDS[module.__name__](module))


def _replace(replacements: Iterable[Replacement]) -> None:
    for owner, name, replacement in replacements:
        if not hasattr(getattr(owner, name), "refuses_markers"):
            replacement.refuses_markers = True
            setattr(owner, name, replacement)


def _classes_with(module: ModuleType, method: str) -> list[Any]:
    """The classes of a module that define a method; none of one that is being imported at this moment, further up."""
    return [each for each in vars(module).values() if isinstance(each, type) and method in vars(each)]


def _engines(attribute: str) -> Callable[[ModuleType], list[Replacement]]:
    """What is replaced in a module of engines, which hold what they run as `attribute`."""

    def replacements(module: ModuleType) -> list[Replacement]:
        base = f"Base{attribute.capitalize()}RunEngine"
        made = [each for each in _classes_with(module, "__post_init__") if each.__name__ == base]
        return [
            *((each, "__post_init__", _refusing_what_it_runs(each.__post_init__, attribute)) for each in made),
            *(
                (each, "call_hooks", _calling(each.call_hooks, attribute))
                for each in _classes_with(module, "call_hooks")
            ),
        ]

    return replacements


def _refusing_what_it_runs(post_init: Any, attribute: str) -> Any:
    @functools.wraps(post_init)
    def __post_init__(self: Any) -> None:  # noqa: N807 - takes its place
        post_init(self)
        work: Work | None = getattr(self, attribute)
        if work is not None and (found := list(mistakes_of(work, self.parameters))):
            error = UsageError(told(found))
            if work.isgenerator:  # which the engine does not ask for its function
                raise error
            setattr(self, attribute, refusing_work(work, error))

    return __post_init__


def _calling(call_hooks: Any, attribute: str) -> Any:
    if inspect.iscoroutinefunction(call_hooks):

        @functools.wraps(call_hooks)
        async def acalling(self: Any, *args: Any, **kwargs: Any) -> None:
            await awaited_within(hooks_refusing(self, attribute), lambda _: call_hooks(self, *args, **kwargs))

        return acalling

    @functools.wraps(call_hooks)
    def calling(self: Any, *args: Any, **kwargs: Any) -> None:
        within(hooks_refusing(self, attribute), lambda _: call_hooks(self, *args, **kwargs))

    return calling


def _transactions(module: ModuleType) -> list[Replacement]:
    def running(run_hook: Any) -> Any:
        @functools.wraps(run_hook)  # which gives what it gives: nothing, or a coroutine
        def run(self: Any, hook: Any, hook_type: str) -> Any:
            return run_hook(self, refusing_hook(hook, " of a transaction"), hook_type)

        return run

    return [(each, "run_hook", running(each.run_hook)) for each in _classes_with(module, "run_hook")]


def _runners(module: ModuleType) -> list[Replacement]:
    run_hooks: Any = getattr(module, "_run_hooks", None)

    @functools.wraps(run_hooks)
    async def run(hooks: Sequence[Any], flow_run: Any, flow: Any, state: Any) -> None:
        of = f" of the flow {flow.name!r}"
        await run_hooks([refusing_hook(hook, of) for hook in hooks], flow_run, flow, state)

    return [] if run_hooks is None else [(module, "_run_hooks", run)]


def _tasks(module: Any) -> list[Replacement]:
    apply_async = cast("Any", Task).apply_async

    @functools.wraps(apply_async)
    def apply_unless_mistaken(
        self: Task[..., Any], args: Any = None, kwargs: Any = None, *rest: Any, **named: Any
    ) -> Any:
        if next(mistakes_of(self), None) is not None:
            refuse(self, module.get_call_parameters(self.fn, args or (), kwargs or {}))
        return apply_async(self, args, kwargs, *rest, **named)

    return [(Task, "apply_async", apply_unless_mistaken)]


def _binds(kind: Kind) -> Callable[[ModuleType], list[Replacement]]:
    """What binds a call's arguments, before there is an engine: it misses a marked parameter that has no default value."""

    def replacements(module: ModuleType) -> list[Replacement]:
        bind: Any = vars(module)["get_call_parameters"]

        @functools.wraps(bind)
        def bind_or_tell(function: Any, *args: Any, **named: Any) -> dict[str, Any]:
            try:
                return bind(function, *args, **named)
            except ParameterBindError as error:
                left = [each for each in unprovided(function) if each.default is inspect.Parameter.empty]
                if left:
                    raise UsageError(mistake(kind, function, left).told) from error
                raise

        return [(module, "get_call_parameters", bind_or_tell)]

    return replacements


_GUARDS: Mapping[str, Callable[[ModuleType], list[Replacement]]] = {
    "prefect.task_engine": _engines("task"),
    "prefect.flow_engine": _engines("flow"),
    "prefect.transactions": _transactions,
    "prefect.tasks": lambda module: [*_tasks(module), *_binds("task")(module)],
    "prefect.flows": _binds("flow"),
    "prefect.runner._hook_runner": _runners,
    "prefect.runner._workspace_runtime_bootstrap": _runners,
}
# A runner that prepares a workspace of its own calls hooks in a process that runs this file.
_RUN_AS_A_SCRIPT = ("prefect", "runner", "_workspace_runtime_bootstrap.py")
