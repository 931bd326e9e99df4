"""Modules that are loaded when a call is the first to need them: no fork comes in between.

In a forked child a module that another thread of the parent was loading stays half loaded, with its lock taken: whoever
asks for it there would wait for ever. So a fork waits until what is under way here has ended, for a time. It is no lock
that it waits for: who loads a module may wait for another thread that loads one, and Python tells of no circle with ours.
"""

from __future__ import annotations

import os
from importlib import import_module
from threading import get_ident
from time import monotonic, sleep
from types import ModuleType
from typing import Any

# Loading takes a tenth of a second; beyond this it may be waiting for the thread that forks.
_PATIENCE_SECONDS = 10
_PAUSE_SECONDS = 0.002

_under_way: dict[object, int] = {}  # by which thread
_loaded: dict[str, ModuleType] = {}  # whole: Python's own table has modules from the beginning of their loading


def loaded(module: str) -> Any:
    """A module, loaded if it is not."""
    return _loaded.get(module) or _load(module)


def _load(module: str) -> ModuleType:
    attempt = object()
    try:
        _under_way[attempt] = get_ident()
        return _loaded.setdefault(module, import_module(module))
    finally:
        _under_way.pop(attempt, None)


def _wait_for_others() -> None:
    until, here = monotonic() + _PATIENCE_SECONDS, get_ident()
    while any(thread != here for thread in list(_under_way.values())) and monotonic() < until:
        sleep(_PAUSE_SECONDS)


if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(before=_wait_for_others, after_in_child=_under_way.clear)
