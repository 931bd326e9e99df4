"""The last step of docs/tutorial.md: the flow is served, triggered, and closes what its run has opened."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from tests.docs.shell import ROOT, File, steps


def test_the_tutorials_flow_runs_as_a_deployment(tmp_path: Path, prefect_server: str) -> None:
    for step in steps(ROOT / "docs" / "tutorial.md"):
        if isinstance(step, File):
            (tmp_path / step.name).write_text(step.text, "utf-8")
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    with (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(
            [sys.executable, "serve.py"], cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for("sell/shop", serving)
        command = [sys.executable, "-m", "prefect", "deployment", "run", "sell/shop", "--watch"]
        subprocess.run(command, cwd=tmp_path, env=environment, timeout=150, check=True)  # noqa: S603
    finally:
        serving.terminate()
        serving.wait(60)
    told = (tmp_path / "log").read_text("utf-8")
    assert "Opened Shop.database" in told
    assert "Closed Shop.database" in told
    database = sqlite3.connect(tmp_path / "shop.db")
    try:
        assert database.execute("SELECT item FROM orders").fetchall() == [("cherries",)]
    finally:
        database.close()


def _wait_for(deployment: str, serving: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline and serving.poll() is None:
            try:
                client.read_deployment_by_name(deployment)
            except ObjectNotFound:
                time.sleep(0.1)
            else:
                return
    raise AssertionError(f"{deployment} was never there")
