"""A forked child begins anew: what its parent has open is not there, and nobody will release its parent's locks.

Of a parent's threads only the one that forked goes on in the child. Whoever keeps anything for the process says here how
it begins again.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Protocol, cast
from weakref import WeakSet

from dependency_injector import providers

# Dependency-injector's own, for all of the process; attributes of its classes, which cannot be set.
_LOCKS: tuple[Any, ...] = (
    cast("Any", providers.Provider).overriding_lock,
    cast("Any", providers.ThreadSafeSingleton).storage_lock,
)


class Forked(Protocol):
    """What a child has inherited."""

    def begin_anew(self) -> None:
        """Called in the child, before anything else runs there: take locks that are free, and let go of what is open."""
        ...


class Children:
    """What begins anew in the children of this process."""

    def __init__(self) -> None:
        self._inherited: WeakSet[Forked] = WeakSet()

    def begin_with(self, inherited: Forked) -> None:
        """Let it begin anew in every child, as long as it lives."""
        self._inherited.add(inherited)

    def begin(self) -> None:
        """This is the child.

        One that is told to end before it has begun ends: Python drops what a signal's handler raises here, and who waits
        for the end of the child (`with multiprocessing.Pool(...)`) would wait for ever.
        """
        try:
            for lock in _LOCKS:
                lock._at_fork_reinit()  # noqa: SLF001 - as Python's own modules do with theirs
            for inherited in list(self._inherited):
                inherited.begin_anew()
        except Exception:
            raise  # a defect of ours, which Python prints
        except BaseException:
            os._exit(1)  # as a process of multiprocessing ends by such an exception


def left_to_the_parent(held: Any) -> None:
    """Keep something from ever being finalised here: a generator would run its `finally` on the parent's connection."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


children: Children = Children()
if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(after_in_child=children.begin)
