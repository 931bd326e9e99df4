"""Functions that stand in for others: of the same kind, under the same name, in the same place, the same task to Prefect.

A function is synchronous, a coroutine function, a generator function or an asynchronous generator function. What is done
around a call of it is the same for all four, but for who awaits and who yields.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import types
from collections.abc import AsyncGenerator, Callable, Container, Generator
from typing import Any, Protocol, TypeAlias, cast

from prefect_lifespan.generator_steps import AsyncSteps
from prefect_lifespan.visible import without

Function: TypeAlias = Callable[..., Any]


class Calls(Protocol):
    """What is done when a function is called, whichever its kind is. It is what a stand-in holds of the library."""

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a synchronous function."""
        ...

    async def acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a coroutine function."""
        ...

    def steps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """The steps of a generator function."""
        ...

    def asteps(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        """The steps of an asynchronous generator function."""
        ...


def of_kind(function: Function, calls: Calls) -> Function:
    """A function of the same kind as another one, whose calls are `calls`."""
    if inspect.isasyncgenfunction(function):
        return _asynchronous_generator(calls)
    if inspect.iscoroutinefunction(function):
        return _coroutine(calls)
    if inspect.isgeneratorfunction(function):
        return _generator(calls)
    return _blocking(calls)


def dressed(wrapper: Function, function: Function, injected: Container[str] = ()) -> Function:
    """The wrapper with the function's name, documentation, place, visible signature, and identity as a task."""
    functools.update_wrapper(wrapper, function)
    made = cast("Any", wrapper)
    # Task keys, input hashes and the task-source cache policy hash the first one's source, and from Prefect 3.9.1 on the
    # second one's (tests/contract/test_prefect_task_identity.py): no instruction of ours is in what caches and task
    # workers go by.
    made.__wrapped__ = made.__prefect_task_source__ = _undressed(function)
    made.__signature__ = without(function, injected)
    made.__annotations__ = {name: a for name, a in function.__annotations__.items() if name not in injected}
    made.__code__ = _distinct(made.__code__, function)
    return wrapper


def _undressed(function: Function) -> Function:
    """The function itself, under wrappers of ours alone: another decorator's is a function of its own."""
    source: Function = getattr(function, "__prefect_task_source__", function)
    return source if getattr(function, "__wrapped__", None) is source else function


# The bodies of wrappers name nothing but their closure: Prefect pickles them by value, with the globals they name.


def _blocking(calls: Calls) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return calls.call(args, kwargs)

    return wrapper


def _coroutine(calls: Calls) -> Function:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await calls.acall(args, kwargs)

    return wrapper


def _generator(calls: Calls) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return (yield from calls.steps(args, kwargs))

    return wrapper


def _asynchronous_generator(calls: Calls) -> Function:
    # Python has no `yield from` for them.
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        started = calls.asteps(args, kwargs)
        try:
            try:
                steps = await started.begin()
                step = steps.asend(None)
                try:
                    while True:
                        item = await step
                        try:
                            sent = yield item
                        except GeneratorExit:
                            raise
                        except BaseException as error:
                            step = steps.athrow(error)
                        else:
                            step = steps.asend(sent)
                except StopAsyncIteration:
                    pass
                finally:
                    await steps.aclose()
            except BaseException as error:
                await started.aclose(error)
                raise
            await started.aclose(None)
        except BaseException as error:  # perhaps a signal that has interrupted closing, or has come before it
            await started.aclose(error)
            raise

    return wrapper


def _distinct(code: types.CodeType, function: Function) -> types.CodeType:
    """A wrapper's code, told apart from every other wrapper's and located where the function is.

    Prefect derives a task's key from the code object, its cache key from the instructions where there is no source
    text (an interactive session), and a flow's entrypoint from the file. All of a wrapper is on the first line of what
    it stands for: its own line numbers would mark other lines of that file in tracebacks and in coverage.
    """
    own: types.CodeType = cast("Any", function).__code__
    # The same in every process: constants may be sets, and code objects, whose text is not. Without the module, which is
    # another one where a worker imports the script that delays its tasks.
    told = (own.co_qualname, own.co_code, own.co_names)
    digest = hashlib.sha256(repr(told).encode()).digest()
    # Instructions that are never reached and do nothing, with the digest in their arguments.
    instructions = code.co_code + bytes(byte for value in digest for byte in (_NOP, value))
    return code.replace(
        co_code=instructions,
        co_consts=(*code.co_consts, own),
        co_filename=own.co_filename,
        co_firstlineno=own.co_firstlineno,
        co_linetable=_on_first_line(len(instructions) // 2),
        co_name=own.co_name,
        co_qualname=own.co_qualname,
    )


def _on_first_line(instructions: int) -> bytes:
    """A location table, as CPython lays it out: entries for up to eight instructions, no columns, no step in lines."""
    table = bytearray()
    while instructions:
        covered = min(instructions, 8)
        table += bytes((0x80 | 13 << 3 | covered - 1, 0))
        instructions -= covered
    return bytes(table)


_NOP = dis.opmap["NOP"]
