"""Context managers made of generators, through which every exception passes as it is.

contextlib's set an attribute of the exception that passes (its traceback), so an exception that takes no attributes, as one
that is a frozen dataclass, is replaced by the error of that. Here the same is done through a method of `BaseException`,
which no class can refuse.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class _Steps:
    """What both managers say of a generator that takes other steps than a manager's: which it is, and what to write."""

    def __init__(self, generator: Any, resource: str) -> None:
        code = getattr(generator, "gi_code", None) or getattr(generator, "ag_code", None)
        where = "" if code is None else f"{code.co_qualname} ({code.co_filename}:{code.co_firstlineno})"
        frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
        self._line = "" if frame is None else f" in line {frame.f_lineno}"
        self._told = ", ".join(filter(None, [resource and f"the initialiser of {resource}", where]))

    def none(self) -> RuntimeError:
        return RuntimeError(
            f"generator didn't yield: {self._told} ended before a `yield`: write one `yield value` that each way through "
            "it comes by, or raise"
        )

    def another(self, thrown: str = "") -> RuntimeError:
        cure = "write one `yield`, outside any loop, and after it cleanup only"
        if thrown:
            cure = "after the body has failed it is to clean up and raise: write no `yield` into `except` or `finally`"
        return RuntimeError(f"generator didn't stop{thrown}: {self._told} came to a second `yield`{self._line}: {cure}")


class GeneratorManager(AbstractContextManager[T_co, bool | None], Generic[T_co]):
    """Enters a generator by its first step, and leaves it by its last; `resource` is the path of what it opens."""

    def __init__(self, generator: Generator[T_co, Any, Any], resource: str = "") -> None:
        self._generator = generator
        self._resource = resource

    def __enter__(self) -> T_co:
        try:
            return next(self._generator)
        except StopIteration:
            raise _Steps(self._generator, self._resource).none() from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is None:
            try:
                next(self._generator)
            except StopIteration:
                return False
            self._refuse()
        try:
            self._generator.throw(cast("BaseException", error))
        except StopIteration as stop:
            return stop is not error
        except BaseException as raised:
            if not passes(error, raised, traceback):
                raise
            return False
        self._refuse(" after throw()")
        return False

    def _refuse(self, thrown: str = "") -> None:
        try:
            raise _Steps(self._generator, self._resource).another(thrown)
        finally:
            self._generator.close()

    def leave(self, error: BaseException) -> None:
        """Leave it with `error`, which has come before that was begun; nothing where it has been left."""
        if getattr(self._generator, "gi_frame", None) is not None:
            self.__exit__(type(error), error, error.__traceback__)


class AsyncGeneratorManager(AbstractAsyncContextManager[T_co, bool | None], Generic[T_co]):
    """The same for an asynchronous generator."""

    def __init__(self, generator: AsyncGenerator[T_co, Any], resource: str = "") -> None:
        self._generator = generator
        self._resource = resource

    async def __aenter__(self) -> T_co:
        try:
            return await anext(self._generator)
        except StopAsyncIteration:
            raise _Steps(self._generator, self._resource).none() from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if error is None:
            try:
                await anext(self._generator)
            except StopAsyncIteration:
                return False
            await self._refuse()
        try:
            await self._generator.athrow(cast("BaseException", error))
        except StopAsyncIteration as stop:
            return stop is not error
        except BaseException as raised:
            if not passes(error, raised, traceback):
                raise
            return False
        await self._refuse(" after athrow()")
        return False

    async def _refuse(self, thrown: str = "") -> None:
        try:
            raise _Steps(self._generator, self._resource).another(thrown)
        finally:
            await self._generator.aclose()


def passes(error: BaseException | None, raised: BaseException, traceback: TracebackType | None) -> bool:
    """Whether a generator lets through the exception that was thrown into it, whose traceback is put back then."""
    # Python makes a RuntimeError of a StopIteration that leaves a generator.
    stopped = isinstance(error, (StopIteration, StopAsyncIteration)) and isinstance(raised, RuntimeError)
    if raised is not error and not (stopped and raised.__cause__ is error):
        return False
    assert error is not None
    BaseException.with_traceback(error, traceback)
    return True


def manager(function: Callable[P, Generator[T_co]]) -> Callable[P, GeneratorManager[T_co]]:
    """What contextlib.contextmanager is, for the library's own."""

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> GeneratorManager[T_co]:
        return GeneratorManager(function(*args, **kwargs))

    return make


def async_manager(function: Callable[P, AsyncGenerator[T_co]]) -> Callable[P, AsyncGeneratorManager[T_co]]:
    """What contextlib.asynccontextmanager is, for the library's own."""

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> AsyncGeneratorManager[T_co]:
        return AsyncGeneratorManager(function(*args, **kwargs))

    return make


def of_contextlib(made: object, resource: str = "") -> object:
    """What a user's `@contextmanager` function has made, so that exceptions pass through it as they are."""
    stand_in = _OF_CONTEXTLIB.get(type(made))
    return made if stand_in is None else stand_in(cast("Any", made).gen, resource)


def _nothing() -> Generator[None]:
    yield


async def _anothing() -> AsyncGenerator[None]:
    yield


_OF_CONTEXTLIB: dict[type, Callable[[Any, str], object]] = {
    type(contextmanager(_nothing)()): GeneratorManager,
    type(asynccontextmanager(_anothing)()): AsyncGeneratorManager,
}
