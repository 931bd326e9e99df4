"""What is wrong with tasks, flows, hooks and functions, as data: found by looking at them, without calling anything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from prefect.flows import Flow
from prefect.tasks import Task

from prefect_lifespan.graph import Finding, Graph, Node, graph_of
from prefect_lifespan.graph.anchors import anchor_of, key_of_path
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.markers import Marker, of_an_inner_container, unknown_names
from prefect_lifespan.injection.mistakes import Kind, mistake, place_of, unprovided, wired_by_position, wrapped_by
from prefect_lifespan.injection.plan import plan_of
from prefect_lifespan.lifespans.given_in_code import given_in
from prefect_lifespan.lifespans.reachable import reachable, stays_in_its_lifespan, walked
from prefect_lifespan.scope import current_scope

Work: TypeAlias = "Task[..., Any] | Flow[..., Any]"

STATE_HOOKS = (
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


def findings_of(target: Work | Callable[..., Any]) -> tuple[Finding, ...]:
    """All findings of a task, a flow with what it names, or a function such as a hook.

    An "error" is refused where a lifespan opens or Prefect is about to call it; a "warning" holds only where no other
    lifespan is in force around the flow.
    """
    if not isinstance(target, (Task, Flow)):
        left = unprovided(target)
        return (mistake("function", target, left),) if left else ()
    own = cast("Work", target)
    found = [*mistakes_of(own), *(mistakes_named_in(own.fn, but=own) if isinstance(own, Flow) else ())]
    plan = plan_of(own.fn)
    if isinstance(own, Flow) and plan is not None and plan.container is not None:
        found += mistakes_under(own.fn, plan.container)
        found += helpers_named_in(own.fn)
        found += () if own.isasync else asynchronous_in([own.fn, *blocking_in_force(own.fn)], graph_of(plan.container))
    return tuple(found)


def mistakes_of(work: Work, parameters: Mapping[str, object] | None = None) -> Iterator[Finding]:
    """What of a task or flow would be given a marker: its function (with `parameters`, in that call), and its hooks."""
    left = unprovided(work.fn)
    if parameters is not None:
        left = tuple(each for each in left if each.is_left(parameters))
    if left := left or wired_by_position(work.fn):
        yield mistake(kind_of(work), work.fn, left)
    for _, hook in hooks_of(work):
        if missing := unprovided(hook):
            yield mistake("hook", hook, missing, f" of the {kind_of(work)} {work.name!r}")


def mistakes_named_in(function: Callable[..., Any], *, but: Work | None = None) -> Iterator[Finding]:
    """What of the tasks and flows that a function names, at any depth, would be given a marker.

    A parameter that some call there gives is left to the call of that task or flow.
    """
    named = [each for each in walked(function) if each is not but]
    functions = [each for each in named if not isinstance(each, (Task, Flow))]
    for each in named:
        work = cast("Work", each)
        if isinstance(each, (Task, Flow)) and any(mistakes_of(work)):
            yield from mistakes_of(work, dict.fromkeys(given_in(functions, work), _GIVEN))


def helpers_named_in(function: Callable[..., Any]) -> Iterator[Finding]:
    """The functions that a flow function names, at any depth, which carry a marker, and which nothing injects."""
    named = list(walked(function))
    functions = [each for each in named if not isinstance(each, (Task, Flow))]
    # What a task, a flow and a wrapper call themselves is theirs.
    provided = [function, *(each.fn for each in named if isinstance(each, (Task, Flow)))]
    provided += [each for each in functions if plan_of(each) is not None]
    theirs = {id(each) for one in provided for each in wrapped_by(one)}
    theirs |= {id(each) for one in functions for each in wrapped_by(one) if each is not one}
    for each in functions:
        left = [] if id(each) in theirs else list(unprovided(each))
        if left and (left := [one for one in left if one.name not in given_in(functions, each)]):
            found = mistake("function", each, left)
            yield Finding(code="uninjected-helper", path=found.path, message=found.message, cure=found.cure)


_GIVEN = object()


def mistakes_under(function: Callable[..., Any], container: ContainerClass) -> Iterator[Finding]:
    """What is marked for something that the container of a flow function does not give, where no other one is in force."""
    graph = graph_of(container)
    for work in _in_force(function):
        for marker in _markers(work.fn):
            if inner := of_an_inner_container(marker, container, current_scope()):
                yield _marked(work, "inner-container-marker", *inner)
        for problem, meant in unknown_names({m.name: m for m in _markers(work.fn)}, graph):
            yield _marked(work, "unknown-name", problem, meant.removeprefix("; ") or "name a provider of it")


def _in_force(function: Callable[..., Any]) -> Sequence[Work]:
    """The tasks and flows that a flow function names and that run in its own lifespan, as far as that is certain."""
    if not stays_in_its_lifespan(function, into=_opens_none):
        return ()
    return [work for work in reachable(function, into=_opens_none) if _opens_none(work)]


def _opens_none(work: Work) -> bool:
    plan = plan_of(work.fn)
    return plan is None or plan.container is None


def blocking_in_force(function: Callable[..., Any]) -> Sequence[Callable[..., Any]]:
    """The injected functions without an event loop that a flow function names and that run in its own lifespan: of
    tasks, of subflows and by themselves, as far as that is certain.
    """
    if not stays_in_its_lifespan(function, into=_opens_none):
        return ()
    named = walked(function, into=_opens_none)
    functions: list[Any] = [each.fn if isinstance(each, (Task, Flow)) else each for each in named]
    injected = dict.fromkeys(
        each for each in functions if (plan := plan_of(each)) is not None and plan.container is None
    )
    return [each for each in injected if not (inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each))]


def asynchronous_in(
    functions: Iterable[Callable[..., Any]], graph: Graph, is_open: Callable[[Node], bool] = lambda _: False
) -> Iterator[Finding]:
    """What blocking functions ask for that opens on an event loop, where there is none, and is not open already."""
    for function in functions:
        for marker in _markers(function):
            key = _key_of(marker, graph)
            needed: Sequence[Node] = () if key is None or marker.as_provider else graph.needed([key])
            waiting = next((node for node in needed if node.is_async and not is_open(node)), None)
            if waiting is not None:
                where = place_of(function)
                yield Finding(
                    code="asynchronous-in-blocking-flow",
                    path=where,
                    message=(
                        f"{where}: {marker.name} needs {graph.container}.{waiting.path}, which is asynchronous and opens on "
                        "an event loop, and the flow is blocking"
                    ),
                    cure="make the flow `async def`, or call it inside an asynchronous lifespan that has it open",
                )


def _key_of(marker: Marker, graph: Graph) -> int | None:
    provider = marker.provider
    key = key_of_path(graph, provider) if isinstance(provider, str) else id(anchor_of(provider))
    return key if key in graph.nodes else None


def _markers(function: Callable[..., Any]) -> Iterable[Marker]:
    plan = plan_of(function)
    return () if plan is None else plan.markers.values()


def _marked(work: Work, code: Any, problem: str, cure: str) -> Finding:
    where = place_of(work.fn)
    return Finding(code=code, path=where, message=f"the {kind_of(work)} {where}: {problem}", cure=cure)


def kind_of(work: Work) -> Kind:
    """Which of the two it is, as messages name it."""
    return "task" if isinstance(work, Task) else "flow"


def hooks_of(work: Work) -> Iterator[tuple[str, Any]]:
    """The functions of the user's that Prefect calls beside the work itself, each with the attribute that holds it."""
    for name in STATE_HOOKS:
        yield from ((name, hook) for hook in getattr(work, name, None) or ())
    yield from ((name, hook) for name in _CALLBACKS if callable(hook := getattr(work, name, None)))


def told(found: Sequence[Finding]) -> str:
    """The text of an error that says all of them."""
    problems = [finding.told for finding in found]
    return problems[0] if len(problems) == 1 else "\n  ".join([f"{len(problems)} mistakes:", *problems])
