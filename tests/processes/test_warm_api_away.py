"""Prefect's API goes away while a warm process has a run, and comes back: the run ends as it would have, the worker goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.prefect_api import WITHOUT
from tests.processes.running import Programs, Zygote, eventually, reaches_state
from tests.processes.warm import WarmPool

pytestmark = pytest.mark.extended


@dataclass
class Api:
    """An API of its own, whose database outlives it."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, each time."""
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        database = f"sqlite+aiosqlite:///{self.folder}/prefect.db"
        environment = {"PREFECT_HOME": str(self.folder), "PREFECT_API_DATABASE_CONNECTION_URL": database}
        command = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "error"]
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-W", "ignore", *command, "--port", str(self.port)], env=os.environ | WITHOUT | environment
        )
        eventually(self._answers, "the API answers", every_seconds=0.2)

    def die(self) -> None:
        """It goes without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """That API, which has started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        api = Api(tmp_path_factory.mktemp("api"), free.getsockname()[1])
    api.start()
    yield api
    api.die()


def test_a_run_that_ends_while_the_api_is_away_completes_and_the_worker_goes_on(
    api: Api, zygote: Zygote, tmp_path: Path
) -> None:
    with temporary_settings({PREFECT_API_URL: api.url}), get_client(sync_client=True) as client:
        folder = tmp_path / "away"
        folder.mkdir()
        pool = WarmPool.started(
            client, Programs(zygote, folder), folder, environment={"PREFECT_API_URL": api.url}, processes=1
        )
        try:
            waits = pool.deploy("waits")
            run = pool.run(waits, "lonely")
            pool.begins("lonely")
            api.die()
            pool.worker.tell("lonely go on")
            pool.worker.reaches("close lonely db none")  # its end is to be told now
            api.start()
            reaches_state(client, run, "Completed")

            pool.worker.tell("next go on")
            following = pool.run(waits, "next")
            reaches_state(client, following, "Completed")
            assert len(pool.lines("open model in")) == 1
        finally:
            pool.worker.kill()
