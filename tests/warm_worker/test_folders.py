"""The temporary folders of warm processes, and those that are left when a worker and its processes were killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from prefect_lifespan.warm_worker import folders
from prefect_lifespan.warm_worker.folders import Folder, remove_what_is_left

# A worker that starts a process which has the folder, and dies without a word.
DIES = """
import os, subprocess, sys
from prefect_lifespan.warm_worker.folders import Folder
folder = Folder()
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=[folder.descriptor], stdout=subprocess.DEVNULL)
print(folder.path, flush=True)
os._exit(9)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are; none is too young."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folders, "_YOUNG_SECONDS", -60.0)
    return tmp_path


def test_a_folder_stays_as_long_as_its_worker_or_its_process_lives(temporary: Path) -> None:
    held, others = Folder(), temporary / "prefect-lifespan-warm-none-of-ours"
    others.write_text("a file")
    command = [sys.executable, "-W", "ignore", "-c", DIES]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdin is not None
        left = Path(worker.stdout.readline().strip())
        assert worker.wait(60) == 9
        (left / "code").mkdir()
        remove_what_is_left()
        assert left.exists()

        descriptor = os.open(left, os.O_RDONLY)
        worker.stdin.close()
        folders.fcntl.flock(descriptor, folders.fcntl.LOCK_EX)  # when its process has gone
        os.close(descriptor)
    remove_what_is_left()

    assert not left.exists()
    assert held.path.exists()
    assert others.exists()
    held.remove()
    assert not held.path.exists()
    held.remove()


def test_a_folder_that_is_young_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "_YOUNG_SECONDS", 60.0)
    young = temporary / "prefect-lifespan-warm-young"
    young.mkdir()
    remove_what_is_left()
    assert young.exists()
