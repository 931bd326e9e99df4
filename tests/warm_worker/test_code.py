"""Whether a warm process may run what a deployment asks for with the code that it has loaded."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun

from prefect_lifespan.warm_worker.code import Code, StaleCode

PROGRAM = """
from prefect import flow

@flow
def reports():
    return {0!r}
"""


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    """A client of the API."""
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Working directory, search path and modules are as they were behind the test."""
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "path", [*sys.path])
    loaded = {*sys.modules}
    yield
    for name in sys.modules.keys() - loaded:
        del sys.modules[name]


def scheduled(client: SyncPrefectClient, source: Path, **deployed: Any) -> FlowRun:
    """A run of a deployment of the code in a folder, which each run copies."""
    options = {"entrypoint": "reports_program.py:reports", "path": str(source), **deployed}
    deployment = client.create_deployment(client.create_flow_from_name("reports"), source.name, **options)
    return client.create_flow_run_from_deployment(deployment)


def test_what_was_pulled_is_loaded_once_as_long_as_it_stays_the_same(client: SyncPrefectClient, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "process"
    source.mkdir()
    program = source / "reports_program.py"
    program.write_text(PROGRAM.format("old"))
    code = Code(folder, None)

    def loaded() -> Any:
        run = scheduled(client, source)
        flow = code.load(asyncio.run(code.pull(run)))
        code.ended(run.id)
        return flow

    folder.mkdir()
    flow = loaded()
    assert loaded() is flow
    assert len([*(folder / "runs").iterdir()]) == 1  # that which was loaded; what was only compared is gone
    crashed = scheduled(client, source)
    asyncio.run(code.pull(crashed))
    code.ended(crashed.id, is_asked_for=True)  # by hooks that the worker runs
    assert code.folder_of(crashed.id).exists()
    program.write_text(PROGRAM.format("new"))
    with pytest.raises(StaleCode, match="the code that was pulled is another"):
        loaded()
    program.write_text(PROGRAM.format("old"))
    (source / "data.csv").write_text("1,2")
    with pytest.raises(StaleCode, match="the code that was pulled is another"):
        loaded()


def test_code_that_stands_elsewhere_or_begins_elsewhere_is_another(client: SyncPrefectClient, tmp_path: Path) -> None:
    folder = tmp_path / "process"
    folder.mkdir()
    code = Code(folder, None)

    def pulled(name: str, function: str = "reports") -> Any:
        source = tmp_path / name
        if not source.exists():
            source.mkdir()
            (source / "reports_program.py").write_text(PROGRAM.format("same"))
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(source)}}
        run = scheduled(client, source, pull_steps=[step], entrypoint=f"reports_program.py:{function}")
        return code.load(asyncio.run(code.pull(run)))

    assert pulled("one") is pulled("one")
    with pytest.raises(StaleCode, match="the code stands elsewhere"):
        pulled("other")
    with pytest.raises(StaleCode, match="the deployment has another entrypoint"):
        pulled("one", "another")
