"""How the tests end what they have started, with all that it has started in its turn."""

from __future__ import annotations

from contextlib import suppress

import psutil


def end(pid: int) -> None:
    """Kill a process and its descendants, which would go on without it; nothing where it is not there any more."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for each in (*process.children(recursive=True), process):
            with suppress(psutil.NoSuchProcess):
                each.kill()
