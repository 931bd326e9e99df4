"""Injected functions, written out with their visible parameters: a call whose values are at hand decides nothing.

Python binds the arguments itself then, whichever way they are given, and calls the function with each of its parameters in
its place. Such a source has no other way to be general and as fast as a function that its user would have written.
Generators are not written out: their first step takes longer than what it would save.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from prefect_lifespan.functions import Function, dressed, of_kind
from prefect_lifespan.injection.plan import Plan, planned
from prefect_lifespan.scope import Here

# What was kept is looked up before who is at home is asked: a lifespan that comes into force everywhere in between changes both.
# What is counted begins before it looks for values: a synchronous call in another thread than the one that closes. Python runs
# no handler of a signal in that `try`, whose exception would be taken for a missing key.
_BLOCKING = """
def {name}({parameters}):
    {ground} = {here}.scope().ground
    {kept} = {ground}.prepared
    if {explicit} or not {ground}.home._is_owned():
        return {plan}.call({arguments})
    try:
        {unpacked} {gives} = {kept}[{key}]
    except KeyError:
        {gives} = {here}.nothing
    if {gives} is not None:
        {gives} = {gives}()
        if {gives} is None:
            return {plan}.call({visible})
        {unpacked} = {gives}
    return {function}({own})
"""

# And a coroutine in another task than that.
_COROUTINE = """
async def {name}({parameters}):
    {ground} = {here}.scope().ground
    {kept} = {ground}.prepared
    if {explicit} or not ({ground}.home._is_owned() and {here}.task_on({ground}.loop) is {ground}.task):
        return await {plan}.counted({arguments})
    try:
        {unpacked} {loop}, {gives} = {kept}[{key}]
    except KeyError:
        {gives} = {here}.nothing
    if {gives} is not None:
        {gives} = {gives}()
        if {gives} is None:
            return await {plan}.counted({visible})
        {unpacked} {loop} = {gives}
    return await {function}({own})
"""

# What a written function finds in its closure, as far as it names it. All of it is pickled by name, but for the plan and the
# function.
_CLOSURE = ("function", "plan", "key", "here", "injected", "absent")
_LOCAL = ("ground", "kept", "gives", "loop", "rest", "named", "too_many")
# Injected parameters. Asking each whether it was given takes more, for three, than a dictionary of those that were.
MOST_DECLARED = 2


class NotGiven:
    """In the place of an argument that no caller gives."""

    @staticmethod
    def arguments(
        visible: tuple[Any, ...], too_many: object, /, **named: object
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that were given, as the slow way takes them."""
        args = visible if too_many is NotGiven else (*visible, too_many)
        return args, {name: value for name, value in named.items() if value is not NotGiven}


def injected(function: Function, plan: Plan) -> Function:
    """The function with its injected parameters provided, as a function of the same kind."""
    if plan.has_steps:
        return planned(dressed(of_kind(function, plan), function, plan.markers), plan)
    injected = tuple(plan.markers)
    parameters = inspect.signature(function).parameters
    make = _maker(_source(function, parameters, injected))
    wrapper = make(function, plan, plan.key, Here, frozenset(injected), NotGiven)
    visible = [p for p in parameters.values() if p.name not in injected]
    defaults = [p for p in visible if p.default is not p.empty]
    more = (NotGiven,) * (1 + len(injected)) if _are_declared(visible, injected) else ()
    wrapper.__defaults__ = (*(p.default for p in defaults if p.kind is not p.KEYWORD_ONLY), *more) or None
    wrapper.__kwdefaults__ = {p.name: p.default for p in defaults if p.kind is p.KEYWORD_ONLY} or None
    return planned(dressed(wrapper, function, plan.markers), plan)


@functools.lru_cache(maxsize=256)  # many functions have the same parameters
def _maker(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(source, namespace)  # noqa: S102 - written here, of names that Python has taken for identifiers
    return namespace["make"]


def _source(function: Function, parameters: Mapping[str, inspect.Parameter], injected: Sequence[str]) -> str:
    """The source of a function that makes the stand-in."""
    own = {name: _unlike(name, parameters) for name in (*_CLOSURE, *_LOCAL, "make", "name", "default")}
    visible = [p for p in parameters.values() if p.name not in injected]
    given = _declared(visible, injected, own) if _are_declared(visible, injected) else _collected(visible, own)
    text = (_COROUTINE if inspect.iscoroutinefunction(function) else _BLOCKING).format(
        **own,
        **given,
        unpacked=f"{', '.join(injected)},",
        own=_passed_on(list(parameters.values())),
    )
    body = "\n".join(f"    {line}" for line in text.splitlines())
    closure = ", ".join(own[name] for name in _CLOSURE)
    return f"def make({closure}):\n    {own['default']} = None\n{body}\n    return {own['name']}\n"


def _unlike(name: str, parameters: Container[str]) -> str:
    """A name that is none of the function's parameters."""
    return name if name not in parameters else _unlike(f"{name}_", parameters)


def _are_declared(visible: Sequence[inspect.Parameter], injected: Sequence[str]) -> bool:
    """Whether the stand-in declares the injected parameters too, behind the visible ones.

    Python calls what collects no arguments faster. Between the two stands a parameter for the first positional argument
    too many, so that an injected one is given by keyword alone. Python itself refuses, before anything opens, what is
    too many even for these, and counts them.
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return len(injected) <= MOST_DECLARED and all(p.kind in kinds for p in visible)


def _declared(visible: Sequence[inspect.Parameter], injected: Sequence[str], own: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a stand-in that declares the injected ones, what it was given, and whether that is more than visible."""
    too_many, absent, default = own["too_many"], own["absent"], own["default"]
    more = [f"{name}={default}" for name in (too_many, *injected)]
    named = [f"{name}={name}" for name in injected]
    return {
        "parameters": ", ".join([*_in_place(visible, default), *more]),
        "arguments": f"*{absent}.arguments({_tuple(visible)}, {', '.join([too_many, *named])})",
        "visible": f"{_tuple(visible)}, {{}}",
        "explicit": " or ".join(f"{name} is not {absent}" for name in (too_many, *injected)),
    }


def _collected(visible: Sequence[inspect.Parameter], own: Mapping[str, str]) -> dict[str, str]:
    """The same of one that collects what is too much, or is injected and given all the same."""
    rest = next((p.name for p in visible if p.kind is p.VAR_POSITIONAL), None)
    named = next((p.name for p in visible if p.kind is p.VAR_KEYWORD), None)
    all_rest, all_named = rest or own["rest"], named or own["named"]
    keyword_only = [p for p in visible if p.kind is p.KEYWORD_ONLY]
    keywords = [f'"{p.name}": {p.name}' for p in keyword_only]
    too_many = [] if rest else [all_rest]
    by_name = f"({named} and not {own['injected']}.isdisjoint({named}))" if named else all_named
    declared = [f"*{all_rest}", *(_with_default(p, own["default"]) for p in keyword_only), f"**{all_named}"]
    arguments = f"{_tuple(visible, f'*{all_rest}')}, {{{', '.join([*keywords, f'**{all_named}'])}}}"
    return {
        "parameters": ", ".join([*_in_place(visible, own["default"]), *declared]),
        "arguments": arguments,
        "visible": arguments,
        "explicit": " or ".join([*too_many, by_name]),
    }


def _in_place(visible: Sequence[inspect.Parameter], default: str) -> list[str]:
    """The parameters for positional arguments, as they are declared."""
    only = [_with_default(p, default) for p in visible if p.kind is p.POSITIONAL_ONLY]
    return [
        *only,
        *(["/"] if only else []),
        *(_with_default(p, default) for p in visible if p.kind is p.POSITIONAL_OR_KEYWORD),
    ]


def _with_default(parameter: inspect.Parameter, default: str) -> str:
    # Its value is set on the function: that is an object, and this is a text.
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={default}"


def _tuple(visible: Sequence[inspect.Parameter], *more: str) -> str:
    """The positional arguments, in a tuple."""
    names = [p.name for p in visible if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return f"({''.join(f'{name}, ' for name in (*names, *more))})"


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
