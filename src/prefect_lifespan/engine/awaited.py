"""Calls of a container instance's providers that are awaited, as dependency-injector's documentation has asynchronous ones.

What is open is its value, not something to be awaited: so injected functions, factories and callers without `await` have
it. Whoever writes `await container.db()` gets the same value, opened first where it is not open. Only the bytecode of the
caller tells the two apart; it is looked at where a user calls a provider of the instance by its name, never where one
provider calls another or something is injected.
"""

from __future__ import annotations

import asyncio
import bisect
import dis
import functools
import inspect
import itertools
from types import CodeType, FrameType
from typing import Any, cast

from dependency_injector import containers, providers

from prefect_lifespan.engine.face import Face
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.graph.edges import AnyProvider, overriding_of

_KINDS: Any = (
    *(ManagedResource, providers.Factory, providers.Callable, providers.BaseSingleton),
    *(providers.List, providers.Dict, providers.Selector, providers.Dependency),
)
_OWN = frozenset({"async_", "_awaited"})


class Asked(providers.Provider[Any]):
    """A provider as the user of a container instance has it: the one that it stands for, but for calls that are awaited."""

    __slots__ = ("_asked",)

    def __init__(self, real: AnyProvider, key: int, engine: Face) -> None:
        object.__setattr__(self, "_asked", (real, key, engine))

    def __getattribute__(self, name: str) -> Any:
        get = object.__getattribute__
        return get(self, name) if name in _OWN else getattr(get(self, "_asked")[0], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(real_of(self), name, value)

    def __eq__(self, other: object) -> bool:
        return real_of(self) is real_of(other)

    def __hash__(self) -> int:
        return hash(real_of(self))

    def __repr__(self) -> str:
        return repr(real_of(self))

    __str__ = __repr__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        real, key, engine = object.__getattribute__(self, "_asked")
        loop, here = running_loop(), inspect.currentframe()
        if loop is None or loop is not engine.schedule.loop or here is None or not _is_awaited(here.f_back):
            return real(*args, **kwargs)
        return _opened(real, key, engine, args, kwargs)

    def async_(self, *args: Any, **kwargs: Any) -> Any:
        """Its value, to be awaited where an event loop runs; what it needs opens there, where it is not open yet."""
        real, key, engine = object.__getattribute__(self, "_asked")
        if isinstance(real, ManagedResource) or running_loop() is not engine.schedule.loop:
            return cast("Any", real).async_(*args, **kwargs)
        return asyncio.ensure_future(_opened(real, key, engine, args, kwargs))


async def _opened(real: Any, key: int, engine: Face, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    needed = () if is_overridden_by_hand(real, engine) else engine.needed([key])
    if any(slot.state is not State.OPEN for slot in needed):
        await engine.aopen(needed, f"a call of {engine.graph.container}.{engine.graph.nodes[key].path}")
    value = real(*args, **kwargs)
    # What an initialiser gave is the value itself, also where it could be awaited, as for `init()` and `async_()`.
    given = any(slot.value is value for slot in needed)
    return await value if inspect.isawaitable(value) and not given else value


def is_overridden_by_hand(real: Any, engine: Face) -> bool:
    """Whether something stands in for it that the engine knows nothing of: not what its class or lifespan overrides."""
    overriding = overriding_of(real)
    return overriding is not None and all(overriding is not known for known in engine.instances.values())


def real_of(provider: object) -> Any:
    """What is behind a provider of an instance; itself, where that is one of the engine's."""
    return object.__getattribute__(provider, "_asked")[0] if type(provider) is Asked else provider


def offer_awaited_calls(instance: containers.DynamicContainer, engine: Face) -> None:
    """Let the providers of an instance that need resources be asked with `await`, on the lifespan's event loop."""
    if engine.schedule.loop is None:
        return
    keys = {id(engine.instances[key]): key for key in engine.graph.needing_resources if key in engine.instances}
    pending: list[Any] = [instance]
    while pending:
        container = pending.pop()
        attributes: dict[str, Any] = container.__dict__
        for name, provider in cast("dict[str, Any]", container.providers).items():
            key = keys.get(id(provider))
            if isinstance(provider, providers.Container):
                pending.append(cast("Any", provider).container)
            elif key is not None and isinstance(provider, _KINDS):
                # Not by the container's own way of setting, for which this would be another provider.
                attributes[name] = Asked(provider, key, engine)


def _is_awaited(frame: FrameType | None) -> bool:
    """Whether what the call that a frame is at returns is awaited there, or by whom plain functions hand it on to."""
    while frame is not None:
        name = _next_operation(frame.f_code, frame.f_lasti)
        if name != "RETURN_VALUE" or frame.f_code.co_flags & _SUSPENDING:
            return name == "GET_AWAITABLE"
        frame = frame.f_back
    return False


_SUSPENDING = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


@functools.lru_cache(maxsize=1024)
def _next_operation(code: CodeType, last: int) -> str:
    """The name of the operation that follows the one at an offset, or the one whose caches are there."""
    operations = list(dis.get_instructions(code))
    # In Python 3.11 a call is two operations, PRECALL and CALL, and either makes it, as the interpreter specialises them.
    split = {after.offset for one, after in itertools.pairwise(operations) if one.opname == "PRECALL"}
    operations = [operation for operation in operations if operation.offset not in split]
    index = bisect.bisect_right([operation.offset for operation in operations], last)
    return operations[index].opname if index < len(operations) else ""
