"""Injected functions, written out with their visible parameters: a call whose values are at hand decides nothing.

Python binds the arguments itself then, whichever way they are given, and calls the function with each of its parameters in
its place. Such a source has no other way to be general and as fast as a function that its user would have written.
Generators are not written out: their first step takes longer than what it would save.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from prefect_lifespan.functions import Function, dressed, of_kind
from prefect_lifespan.injection.plan import Plan, planned
from prefect_lifespan.scope import Here

# What is counted begins before it looks for values: a synchronous call in another thread than the one that closes. Python runs
# no handler of a signal in that `try`, whose exception would be taken for a missing key.
_BLOCKING = """
def {name}({parameters}):
    {ground} = {here}.scope().ground
    try:
        {unpacked} {gives} = {ground}.prepared[{key}]
    except KeyError:
        {gives} = {here}.nothing
    if {explicit} or not {ground}.home._is_owned():
        {gives} = {here}.nothing
    if {gives} is not None:
        {gives} = {gives}()
        if {gives} is None:
            return {plan}.call({arguments})
        {unpacked} = {gives}
    return {function}({own})
"""

# And a coroutine in another task than that.
_COROUTINE = """
async def {name}({parameters}):
    {ground} = {here}.scope().ground
    try:
        {unpacked} {loop}, {gives} = {ground}.prepared[{key}]
    except KeyError:
        {gives} = {here}.nothing
    if {explicit} or not ({ground}.home._is_owned() and {here}.task_on({ground}.loop) is {ground}.task):
        {gives} = {here}.nothing
    if {gives} is not None:
        {gives} = {gives}()
        if {gives} is None:
            return await {plan}.counted({arguments})
        {unpacked} {loop} = {gives}
    return await {function}({own})
"""

# What a written function finds in its closure. All of it is pickled by name, but for the plan and the function.
_CLOSURE = ("function", "plan", "key", "here", "injected")
_LOCAL = ("ground", "gives", "loop", "rest", "named")


def injected(function: Function, plan: Plan) -> Function:
    """The function with its injected parameters provided, as a function of the same kind."""
    if plan.has_steps:
        return planned(dressed(of_kind(function, plan), function, plan.markers), plan)
    make = _maker(_source(function, tuple(plan.markers)))
    wrapper = make(function, plan, plan.key, Here, frozenset(plan.markers))
    parameters = inspect.signature(function).parameters.values()
    visible = [p for p in parameters if p.name not in plan.markers and p.default is not p.empty]
    wrapper.__defaults__ = tuple(p.default for p in visible if p.kind is not p.KEYWORD_ONLY) or None
    wrapper.__kwdefaults__ = {p.name: p.default for p in visible if p.kind is p.KEYWORD_ONLY} or None
    return planned(dressed(wrapper, function, plan.markers), plan)


@functools.lru_cache(maxsize=256)  # many functions have the same parameters
def _maker(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(source, namespace)  # noqa: S102 - written here, of names that Python has taken for identifiers
    return namespace["make"]


def _source(function: Function, injected: Sequence[str]) -> str:
    """The source of a function that makes the stand-in."""
    parameters = inspect.signature(function).parameters
    own = {name: _unlike(name, parameters) for name in (*_CLOSURE, *_LOCAL, "make", "name", "default")}
    visible = [p for p in parameters.values() if p.name not in injected]
    rest = next((p.name for p in visible if p.kind is p.VAR_POSITIONAL), own["rest"])
    named = next((p.name for p in visible if p.kind is p.VAR_KEYWORD), own["named"])
    text = (_COROUTINE if inspect.iscoroutinefunction(function) else _BLOCKING).format(
        **own,
        parameters=_declared(visible, rest, named, own["default"]),
        arguments=_as_given(visible, rest, named),
        explicit=_explicit(rest, named, parameters, own["injected"]),
        unpacked=f"{', '.join(injected)},",
        own=_passed_on(list(parameters.values())),
    )
    body = "\n".join(f"    {line}" for line in text.splitlines())
    closure = ", ".join(own[name] for name in _CLOSURE)
    return f"def make({closure}):\n    {own['default']} = None\n{body}\n    return {own['name']}\n"


def _unlike(name: str, parameters: Any) -> str:
    """A name that is none of the function's parameters."""
    return name if name not in parameters else _unlike(f"{name}_", parameters)


def _declared(visible: Sequence[inspect.Parameter], rest: str, named: str, default: str) -> str:
    """The visible parameters, with something to take what is too much, or is injected and given all the same."""
    parts: list[str] = []
    starred = False
    for index, parameter in enumerate(visible):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append(f"*{rest}")
            starred = True
        # Its value is set on the function: that is an object, and this is a text.
        parts.append(parameter.name if parameter.default is parameter.empty else f"{parameter.name}={default}")
        after = visible[index + 1 :]
        if parameter.kind is parameter.POSITIONAL_ONLY and not (after and after[0].kind is parameter.POSITIONAL_ONLY):
            parts.append("/")
    return ", ".join([*parts, *([] if starred else [f"*{rest}"]), f"**{named}"])


def _as_given(visible: Sequence[inspect.Parameter], rest: str, named: str) -> str:
    """The arguments as the slow way takes them: a tuple and a dictionary."""
    positional = [p.name for p in visible if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keywords = [f'"{p.name}": {p.name}' for p in visible if p.kind is p.KEYWORD_ONLY]
    return f"({', '.join([*positional, f'*{rest}'])},), {{{', '.join([*keywords, f'**{named}'])}}}"


def _explicit(rest: str, named: str, parameters: Any, injected: str) -> str:
    """What holds where a call gives more than the visible parameters."""
    too_many = [] if rest in parameters else [rest]
    by_name = f"({named} and not {injected}.isdisjoint({named}))" if named in parameters else named
    return " or ".join([*too_many, by_name])


def _passed_on(parameters: Sequence[inspect.Parameter]) -> str:
    """The arguments of the function itself, each in its place."""
    parts: list[str] = []
    for parameter in parameters:
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                parts.append(f"*{parameter.name}")
            case parameter.VAR_KEYWORD:
                parts.append(f"**{parameter.name}")
            case parameter.KEYWORD_ONLY:
                parts.append(f"{parameter.name}={parameter.name}")
            case _:
                parts.append(parameter.name)
    return ", ".join(parts)
