"""One Prefect API for a whole run of the tests, however many processes of pytest share in it.

`running()` starts this module as a program, which serves until its standard input ends: with the process that started
it, whatever ends that, so none is left behind. Nothing here imports Prefect in the process of the tests.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# How long requests may take to end when the API is told to.
END_SECONDS = 5

# What Prefect's own server does beside answering: nothing that a test asks about, and a third of its processor time.
WITHOUT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_UI_ENABLED": "false",
    # Runs of tasks are written down every second: each change of theirs by itself takes as long as all else that is asked.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


@contextmanager
def running(*, with_services: bool = False, with_automations: bool = False) -> Iterator[str]:
    """An API of Prefect; its address. What connects before it is ready waits for it.

    Without its services it is as Prefect embeds it; with them it is as `prefect server start` has it. With automations it
    acts on events, which the others do not look at.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        command = [sys.executable, "-W", "ignore", "-m", "tests.prefect_api", str(listening.fileno())]
        command += ["with services"] * with_services
        environment = without_coverage()
        without = WITHOUT if not with_automations else {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=environment | without, stdin=subprocess.PIPE, pass_fds=[listening.fileno()]
        )
        host, port = listening.getsockname()
    with process:
        yield f"http://{host}:{port}/api"
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(4 * END_SECONDS)
        except subprocess.TimeoutExpired:  # on a loaded machine: how an API of Prefect's ends is nobody's subject here
            process.kill()


def without_coverage() -> dict[str, str]:
    """The environment for a program in which coverage is of no use: it keeps objects, and ends where tracing begins."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def wait(address: str, seconds: float = 240) -> None:
    """Wait until an API answers, which takes as long as importing Prefect and migrating an empty database."""
    with urllib.request.urlopen(f"{address}/health", timeout=seconds) as answer:  # noqa: S310
        assert answer.status == 200


def serve(descriptor: int, *, with_services: bool) -> None:
    """Serve an API on a socket that listens, with an empty database, until the standard input ends."""
    with tempfile.TemporaryDirectory(prefix="prefect-lifespan-api-") as folder:
        os.environ["PREFECT_HOME"] = folder
        os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{folder}/prefect.db"
        import uvicorn
        from prefect.server.api.server import create_app

        _announce_writing()
        app = create_app(ephemeral=not with_services, final=True)
        config = uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=END_SECONDS)
        server = uvicorn.Server(config)
        threading.Thread(target=_end_with_the_input, args=(server,), daemon=True).start()
        server.run(sockets=[socket.socket(fileno=descriptor)])


def _announce_writing() -> None:
    """Each transaction of the API says when it begins that it will write, and waits for its turn.

    As Prefect has it, most of them read first. SQLite refuses their writing when another one has written meanwhile,
    however long they were ready to wait, and a change of state is lost ("database is locked", on a loaded machine).
    """
    from prefect.server.database.configurations import AioSqliteConfiguration

    begin = AioSqliteConfiguration.begin_transaction

    def begin_to_write(self: Any, session: Any, with_for_update: bool = False) -> Any:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_to_write


def _end_with_the_input(server: Any) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True
    time.sleep(2 * END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    serve(int(sys.argv[1]), with_services="with services" in sys.argv)
