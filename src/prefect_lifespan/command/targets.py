"""What a target names: containers, flows, tasks and functions, in the modules that they stand in."""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.importing import module_in, module_named, modules_in, search_here_first
from prefect_lifespan.graph.reader import ContainerClass


@dataclass
class Found:
    """Everything that targets name, each once, in the order in which it was found."""

    modules: dict[str, ModuleType] = field(default_factory=dict[str, ModuleType])
    containers: list[ContainerClass] = field(default_factory=list[ContainerClass])
    works: list[Any] = field(default_factory=list[Any])  # flows and tasks
    functions: list[Any] = field(default_factory=list[Any])
    settings: list[type] = field(default_factory=list[type])  # classes of pydantic-settings
    named: list[ContainerClass] = field(default_factory=list[ContainerClass])  # by themselves, `module:Container`

    def add(self, value: object) -> bool:
        """Take up a container, a flow, a task, a function or a class of settings; False for anything else."""
        kind: list[Any] | None = self._kind(value)
        if kind is None:
            return False
        if not any(value is each for each in kind):
            kind.append(value)
        return True

    def _kind(self, value: object) -> list[Any] | None:
        if is_container(value):
            return self.containers
        if is_work(value):
            return self.works
        if isinstance(value, type):
            return self.settings if _is_settings(value) else None
        return self.functions if inspect.isfunction(value) else None


def find(targets: Iterable[str]) -> Found:
    """Import what targets name, and look at what is there.

    Raises:
        CommandError: a target that does not exist or cannot be imported.
    """
    search_here_first()
    found = Found()
    for target in targets:
        place, name = _split(target)
        if name:
            module = _module_at(place)
            value = _attribute(module, name)
            found.modules[module.__name__] = module
            if not found.add(value):
                raise CommandError(f"{target} is a {type(value).__qualname__}", _instead_of(value))
            if is_container(value):
                found.named.append(cast("ContainerClass", value))
            continue
        for module in _modules_at(place):
            found.modules[module.__name__] = module
            for value in declared_in(module):
                found.add(value)
    return found


def declared_in(module: ModuleType) -> Iterator[object]:
    """What a module declares itself, in its classes as well; what it has imported is declared elsewhere."""
    seen: set[int] = set()
    for value in [*vars(module).values()]:
        members: list[Any] = [*vars(value).values()] if inspect.isclass(value) and not is_container(value) else []
        for each in (value, *members):
            inner = getattr(each, "__func__", each)  # of a static method or a class method
            if id(inner) not in seen and _module_of(inner) == module.__name__:
                seen.add(id(inner))
                yield inner


def is_container(value: object) -> bool:
    """Whether a value is a container class that somebody has declared."""
    return isinstance(value, type) and getattr(value, "__IS_CONTAINER__", False) is True


def is_work(value: object) -> bool:
    """Whether a value is a flow or a task; there is none where nobody has imported Prefect."""
    flows, tasks = sys.modules.get("prefect.flows"), sys.modules.get("prefect.tasks")
    kinds = [module.__dict__.get(name) for module, name in ((flows, "Flow"), (tasks, "Task")) if module is not None]
    return isinstance(value, tuple(kind for kind in kinds if isinstance(kind, type)))


def _is_settings(value: type) -> bool:
    bases = value.__mro__[1:]
    return any(b.__name__ == "BaseSettings" and b.__module__.startswith("pydantic_settings.") for b in bases)


def _module_of(value: Any) -> str | None:
    if is_work(value):
        value = value.fn
    if inspect.isclass(value) or inspect.isfunction(value):
        return value.__module__
    return None


def _instead_of(value: Any) -> str:
    """What to name in the place of what is nothing to look at; of the instance of a container, its class."""
    declared: Any = getattr(value, "declarative_parent", None)
    if is_container(declared):
        return f"that is an instance; name its class: {declared.__module__}:{declared.__qualname__}"
    return "name a container, a flow or a task: module:Container"


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or os.sep in name or "/" in name:  # none, or that of a drive
        return target, ""
    if not place or not name:
        raise CommandError(f"{target!r} names nothing", "write module:Container or path/to/file.py:Container")
    return place, name


def _is_path(place: str) -> bool:
    return place.endswith(".py") or os.sep in place or "/" in place or place in (".", "..")


def _module_at(place: str) -> ModuleType:
    if not _is_path(place):
        return module_named(place)
    path = _existing(place)
    if path.is_dir():
        raise CommandError(f"{place} is a folder", "name one of its files: path/to/file.py:Container")
    return module_in(path)


def _modules_at(place: str) -> Iterable[ModuleType]:
    if _is_path(place) or Path(place).exists():
        path = _existing(place)
        if path.is_dir():
            return modules_in(path)
        return [module_in(path)]
    module = module_named(place)
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    return [each for folder in folders for each in modules_in(folder)] if folders else [module]


def _existing(place: str) -> Path:
    path = Path(place)
    if not path.exists():
        raise CommandError(f"there is no {place}", "give a module, a file that ends with .py, or a folder")
    if path.is_file() and path.suffix != ".py":
        raise CommandError(f"{place} is no Python file", "give a module, a file that ends with .py, or a folder")
    return path


def _attribute(module: ModuleType, name: str) -> object:
    value: object = module
    for part in name.split("."):
        known = vars(value) if hasattr(value, "__dict__") else {}
        if not hasattr(value, part):
            close = difflib.get_close_matches(part, [each for each in known if not each.startswith("_")], n=1)
            where = getattr(value, "__name__", type(value).__qualname__)
            raise CommandError(
                f"{where} has no {part!r}", f"did you mean {close[0]!r}?" if close else "name what the module declares"
            )
        value = getattr(value, part)
    return value
