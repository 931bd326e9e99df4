"""The temporary folders of warm processes, which nobody but their worker and their process removes while either lives.

Each holds a lock on the folder, which the system lets go however they end: so the next worker knows what is left.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_PREFIX = "prefect-lifespan-warm-"
# One that is younger may not be locked yet.
_YOUNG_SECONDS = 60.0


class Folder:
    """A new folder; the worker holds it until it removes it, and a process to which the descriptor is passed, to its end."""

    def __init__(self) -> None:
        self.path: Path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.descriptor: int = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        self._is_held = True

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self._is_held:
            self._is_held = False
            os.close(self.descriptor)
            shutil.rmtree(self.path, ignore_errors=True)


def remove_what_is_left() -> None:
    """Remove this user's folders whose worker and process have gone: they were killed before they could do so."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it has gone meanwhile, is somebody else's, or in use
            found = path.lstat()
            if found.st_uid == os.getuid() and found.st_ctime < time.time() - _YOUNG_SECONDS:
                _remove_if_free(path)


def _remove_if_free(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
