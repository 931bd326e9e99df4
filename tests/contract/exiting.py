"""What worker processes do for the contract tests; they import it by name."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 60


def note(marks: str, what: str) -> None:
    """Append a word at once."""
    file = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what}\n".encode())
    os.close(file)


def registers(marks: str) -> int:
    """Both hooks; the process."""
    atexit.register(note, marks, "atexit")
    multiprocessing.util.Finalize(None, note, args=(marks, "finalizer"), exitpriority=100)
    return os.getpid()


def child(marks: str, ending: str) -> None:
    """A process that ends in one of several ways."""
    registers(marks)
    if ending == "exits":
        sys.exit(128 + signal.SIGTERM)
    if ending == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)  # does not return


def handles() -> tuple[bool, int | None]:
    """Whether SIGTERM has its default handler, and the parent's process."""
    parent = multiprocessing.parent_process()
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, None if parent is None else parent.pid


def holds(marks: str) -> None:
    """Be here until somebody ends this process; a SIGTERM is noted."""

    def terminated(*_: object) -> None:
        note(marks, f"terminated-{os.getpid()}")
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, terminated)
    join(marks)
    time.sleep(PATIENCE_SECONDS)


def meets(marks: str, count: int) -> int:
    """Wait until `count` processes are here; the process."""
    join(marks)
    met(marks, count)
    return os.getpid()


def join(marks: str) -> None:
    """Be here."""
    note(marks, f"here-{os.getpid()}")


def met(marks: str, count: int) -> list[int]:
    """Wait until `count` processes are here; which they are."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        words = Path(marks).read_text().split() if Path(marks).exists() else []
        here = [word for word in words if word.startswith("here")]
        if len(here) >= count:
            return [int(word.removeprefix("here-")) for word in here]
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count} processes have not met: {here}")
        time.sleep(0.02)


def on_ray_of_its_own(marks: str) -> int:
    """Start Ray by a runner, leave it again, and see what is known of it meanwhile; the process of a worker."""
    import ray
    from prefect_ray import RayTaskRunner

    runner: Any = RayTaskRunner(init_kwargs={"num_cpus": 1, "include_dashboard": False, "log_to_driver": False})
    with runner:
        assert runner._owns_ray
        (node,) = ray.nodes()
        assert node["Alive"]
        remote: Any = ray.remote(registers)
        pid: int = ray.get(remote.remote(marks))
        other: Any = RayTaskRunner()
        with other:
            assert not other._owns_ray
        assert ray.is_initialized()
    assert not ray.is_initialized()
    atexit.unregister(ray.shutdown)  # which fails once more at the end of a child of multiprocessing
    return pid


UNPICKLED: list[int] = []


class Counted:
    """An argument that notes where it is unpickled."""

    def __reduce__(self) -> Any:
        return _arrived, ()


def _arrived() -> Counted:
    UNPICKLED.append(os.getpid())
    return Counted()


def takes(_: Counted) -> None:
    """A task."""


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} has not ended")
        time.sleep(0.02)
