"""Which tasks have used which resources, counted by task runs: what injected calls were given, told by those calls."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

from prefect_lifespan.engine.events import Use, Whose
from prefect_lifespan.signal_safe import under


class Uses:
    """Counts the task runs that have used each resource; calls of the flow itself count as one."""

    def __init__(self) -> None:
        # By what one call was given at once, so that a task run costs one entry however many resources that needs.
        self._runs: defaultdict[tuple[tuple[str, ...], str], set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def note(self, paths: tuple[str, ...], whose: Whose) -> None:
        """A call for `whose` was given what needs the resources at these paths."""
        under(self._lock, self._note, paths, whose)

    def _note(self, paths: tuple[str, ...], whose: Whose) -> None:
        self._runs[paths, whose.task].add(whose.task_run)

    def counted(self) -> Sequence[Use]:
        """How many runs of each task have used each resource so far."""
        runs = under(self._lock, self._by_path)
        return [Use(path, os.getpid(), task, len(ids)) for (path, task), ids in runs.items()]

    def _by_path(self) -> Mapping[tuple[str, str], set[str]]:
        runs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for (paths, task), ids in self._runs.items():
            for path in paths:
                runs[path, task] |= ids
        return runs
