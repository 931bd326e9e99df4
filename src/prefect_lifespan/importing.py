"""What is done when a module has been imported, without importing it for that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def when_imported(name: str, action: Action) -> None:
    """Call `action` with a module: now, where it has been imported, else as soon as it has been."""
    _waiting.add(name, action)
    if _waiting not in sys.meta_path:
        sys.meta_path.insert(0, _waiting)


class _Waiting(MetaPathFinder):
    """Finds modules that somebody waits for as the other finders do, and tells when they have been executed."""

    def __init__(self) -> None:
        self._actions: dict[str, list[Action]] = {}
        self._being_executed: set[str] = set()

    def add(self, name: str, action: Action) -> None:
        actions = self._actions.setdefault(name, [])
        if action not in actions:
            actions.append(action)
        if name in sys.modules and name not in self._being_executed:
            action(sys.modules[name])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname not in self._actions:
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not self)
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            loader.exec_module = self._telling(loader.exec_module)
        return spec

    def _telling(self, execute: Action) -> Action:
        def exec_module(module: ModuleType) -> None:
            name = module.__name__
            self._being_executed.add(name)
            try:
                execute(module)
            finally:
                self._being_executed.discard(name)
            for action in list(self._actions[name]):
                action(module)

        return exec_module


_waiting = _Waiting()
