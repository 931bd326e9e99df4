"""A user's initialiser with something done before its opening and after its closing, whatever its kind.

What it gives stays of its kind: a blocking one is entered without an event loop, an asynchronous one on it, a client
that is a manager of both kinds either way. So a container with faults in it opens and closes the way it does without.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Protocol, cast

from prefect_lifespan.engine.initialiser import Call, is_async_manager, is_blocking_manager, manager_of


class Around(Protocol):
    """What is done around one resource; each may raise, in the resource's place."""

    def opening(self) -> None:
        """Before it is opened."""
        ...

    async def aopening(self) -> None:
        """The same on an event loop."""
        ...

    def closing(self) -> None:
        """After it has closed."""
        ...

    async def aclosing(self) -> None:
        """The same on an event loop."""
        ...


def surrounded(call: Call, around: Around, *, is_async: bool) -> Call:
    """A call of an initialiser with `around` around what it opens; `is_async` where it certainly opens on a loop."""
    return _asynchronous(call, around) if is_async else _blocking(call, around)


def _blocking(call: Call, around: Around) -> Call:
    def initialise() -> object:
        around.opening()
        made = manager_of(call())
        if inspect.isawaitable(made):
            return _entered_later(made, around)
        if not is_async_manager(made):
            return _Blocking(made, around)
        return _Either(made, around) if is_blocking_manager(made) else _Asynchronous(made, around)

    return initialise


def _asynchronous(call: Call, around: Around) -> Call:
    async def initialise() -> object:
        await around.aopening()
        made = manager_of(call())
        return await _entered_later(made, around) if inspect.isawaitable(made) else _Asynchronous(made, around)

    return initialise


async def _entered_later(made: Awaitable[object], around: Around) -> object:
    return _Asynchronous(manager_of(await made), around)


class _Blocking:
    """Entered and left as what it surrounds; a plain value, which has nothing to close, as well."""

    def __init__(self, made: object, around: Around) -> None:
        self._made = cast("Any", made)
        self._around = around

    def __enter__(self) -> object:
        return self._made.__enter__() if is_blocking_manager(self._made) else self._made

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> object:
        try:
            return self._made.__exit__(kind, error, traceback) if is_blocking_manager(self._made) else None
        finally:
            self._around.closing()


class _Asynchronous:
    """The same on an event loop, for what is asynchronous and for what came out of something that was."""

    def __init__(self, made: object, around: Around) -> None:
        self._made = cast("Any", made)
        self._around = around

    async def __aenter__(self) -> object:
        if is_async_manager(self._made):
            return await self._made.__aenter__()
        return self._made.__enter__() if is_blocking_manager(self._made) else self._made

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> object:
        try:
            if is_async_manager(self._made):
                return await self._made.__aexit__(kind, error, traceback)
            return self._made.__exit__(kind, error, traceback) if is_blocking_manager(self._made) else None
        finally:
            await self._around.aclosing()


class _Either(_Blocking, _Asynchronous):
    """A manager of both kinds."""
