"""Packages whose names are loaded when they are asked for, each with the module that it stands in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from prefect_lifespan.loading import loaded


def late_names(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], object]:
    """The `__getattr__` of a package that loads each name with one of its modules; type checkers read the imports beside it."""
    module_of = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def load(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = loaded(module_of[name])
        except AttributeError as error:
            # Python would take it for a name that the package lacks, and say nothing of what went wrong in the module.
            raise ImportError(f"{module_of[name]} cannot be imported: {error}") from error
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return load
