"""What another process finds under its own name: then no more than the name has to be sent."""

from __future__ import annotations

import functools
import sys
from typing import Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]


def is_importable(defined: Any) -> bool:
    """Whether another process finds a class or function under its own name, and cloudpickle sends no more than that."""
    module: str = defined.__module__
    parents = {module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)}
    return module != "__main__" and is_found_by_name(defined) and parents.isdisjoint(_sent_by_value())


def is_found_by_name(defined: Any) -> bool:
    """Whether its module has a class or function under its own name, as pickle demands."""
    try:
        return functools.reduce(getattr, defined.__qualname__.split("."), sys.modules[defined.__module__]) is defined
    except (AttributeError, KeyError):
        return False


def _sent_by_value() -> set[str]:
    """The modules of which a user said that cloudpickle sends their classes whole."""
    registered: Any = cloudpickle
    return registered.list_registry_pickle_by_value()
