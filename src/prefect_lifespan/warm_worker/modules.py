"""Whether the files of the modules that are loaded are still as they were when they were imported."""

from __future__ import annotations

import os
import sys
import time


class Modules:
    """The files of all loaded modules, packages included, with what tells a change of one.

    A file that was written while it was being imported, by whomever, cannot be told from one that was written just after:
    it counts as changed.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}
        self._began = 0
        self._written_meanwhile: str | None = None
        self.note()

    def begin(self) -> None:
        """From now on, until `note`, modules may be imported."""
        self._began = time.time_ns()

    def note(self) -> None:
        """Remember the files of modules that have been imported since the last time."""
        for file in _files() - self._known.keys():
            try:
                found = os.stat(file)
            except OSError:
                continue  # in an archive, or made up
            if self._began and found.st_ctime_ns > self._began:
                self._written_meanwhile = file
            self._known[file] = found.st_mtime_ns, found.st_size

    def changed(self) -> str | None:
        """A file that is not what was imported, if there is one."""
        if self._written_meanwhile is not None:
            return self._written_meanwhile
        for file, known in self._known.items():
            try:
                found = os.stat(file)
            except OSError:
                return file
            if (found.st_mtime_ns, found.st_size) != known:
                return file
        return None


def _files() -> set[str]:
    found = (vars(module).get("__file__") for module in [*sys.modules.values()] if hasattr(module, "__dict__"))
    return {file for file in found if isinstance(file, str)}
