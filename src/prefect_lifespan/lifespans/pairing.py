"""Which entering of a lifespan object a leaving belongs to: one object may be entered by several threads and tasks.

A `with` statement looks up what it will call at its end before it enters. So each such look-up gives an exit of its
own, and the entering that follows in the same thread takes it. That exit is a stack of the standard library, which goes
on to its second callback when the first is interrupted, were it at its first line.

Whoever calls the methods one by one, as fixtures do, leaves what is in force there, or was entered there.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Hashable
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast
from weakref import ref

from prefect_lifespan.errors import UsageError

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Left(Hashable, Protocol):
    """What is entered and left."""

    def is_in_force(self) -> bool:
        """Whether it is in force here."""
        ...


S = TypeVar("S", bound=Left)


class Exit:
    """The exit that a `with` statement has looked up."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.entered: Any = None  # what has been entered after it was looked up
        self.leaving: Any = None  # what it leaves, as soon as it has been called


class _LookedUp(threading.local):
    """The last look-up in this thread; gone with its exit, where nobody kept that."""

    def __init__(self) -> None:
        self.exit: Callable[[], Exit | None] = lambda: None


_looked_up = _LookedUp()


class Enterings(Generic[S]):
    """The enterings of one lifespan object, in their order."""

    def __init__(self) -> None:
        self._by_with: dict[S, None] = {}
        self._by_call: dict[S, int] = {}  # with the thread

    def add(self, owner: object, session: S) -> None:
        """`session` is being entered."""
        exit_ = _looked_up.exit()
        _looked_up.exit = lambda: None
        if exit_ is not None and exit_.owner is owner:
            self._by_with[session] = None
            exit_.entered = session
        else:
            self._by_call[session] = threading.get_ident()

    def remove(self, session: S) -> None:
        """`session` has been left."""
        self._by_with.pop(session, None)
        self._by_call.pop(session, None)

    def leaving(self, exit_: Exit) -> S:
        """What an exit leaves; the same one when it is called again."""
        if exit_.leaving is None:
            entered = exit_.entered
            exit_.leaving = entered if entered is not None and entered in self._by_with else self._last()
        return exit_.leaving

    def _last(self) -> S:
        """The last one in force here; else of those that no `with` statement leaves, entered in this thread."""
        by_call = dict(self._by_call)
        everything = [*self._by_with, *by_call]
        in_force = [session for session in everything if session.is_in_force()]
        entered_here = [session for session, thread in by_call.items() if thread == threading.get_ident()]
        if not everything:
            raise UsageError("a lifespan was left that had not been entered, or has been left already")
        return (in_force or entered_here or list(by_call) or everything)[-1]


def looked_up(function: Callable[Concatenate[T, Exit, P], R]) -> Callable[Concatenate[T, P], R]:
    """Decorates `__exit__` or `__aexit__`: each look-up on an object is an exit for one entering.

    The function is called twice: it is to do nothing where it has been done, and to go on where it was interrupted.
    """
    return cast("Callable[Concatenate[T, P], R]", _LookedUpExit(function))


class _LookedUpExit:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._is_async = inspect.iscoroutinefunction(function)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self._by_call
        exit_: Exit = Exit(instance)
        leave = partial(self._function, instance, exit_)
        _looked_up.exit = ref(exit_)
        if self._is_async:
            asynchronous = AsyncExitStack()
            asynchronous.push_async_exit(leave)
            asynchronous.push_async_exit(leave)
            return asynchronous.__aexit__
        stack = ExitStack()
        stack.push(leave)
        stack.push(leave)
        return stack.__exit__

    def _by_call(self, instance: object, *error: Any) -> Any:
        return self.__get__(instance)(*error)
