"""The main job on real databases: with an orchestrator that is not there and with Prefect's own, and nothing left open."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from sqlalchemy import URL

from containers.app import AppContainer
from containers.errors import OrchestratorUnavailableError
from containers.resources import open_warehouse
from containers.services.history import HistoryStore
from containers.settings import Settings
from flows.run_history import run_history, store
from prefect_lifespan import lifespan, override
from prefect_lifespan.testing import Faults, InjectedFault, assert_closes_cleanly, recording
from tests.containers.fakes import FakeClient, flow_run

SECONDS = 20.0
Connections = Callable[[], int]


@pytest.fixture
def on_database(settings: Settings, warehouse_url: URL, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The application's settings, with each of the databases as its warehouse."""
    monkeypatch.setenv("APP_WAREHOUSE__URL", warehouse_url.render_as_string(hide_password=False))
    return Settings()


@pytest.fixture
def connections(on_database: Settings) -> Connections:
    """How many connections to the warehouse there are just now, as the database itself tells."""
    url = on_database.warehouse_url
    if url.get_backend_name() == "sqlite":
        # SQLite removes the write-ahead log with the last connection.
        return lambda: int(Path(f"{url.database}-wal").exists())
    own = url.set(drivername="postgresql").render_as_string(hide_password=False)

    others = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"

    def pids() -> set[int]:
        with closing(psycopg.connect(own)) as connection:
            return {pid for (pid,) in connection.execute(others)}

    before = pids()  # of other tests that share the server

    def count() -> int:
        return len(pids() - before)

    return count


@pytest.fixture
def none_left(connections: Connections) -> Callable[[], None]:
    """Fails unless all connections are gone; a PostgreSQL server notices a moment later that one has been closed."""

    def wait() -> None:
        deadline = time.monotonic() + SECONDS
        while connections():
            assert time.monotonic() < deadline, f"{connections()} connections have outlived the run"
            time.sleep(0.01)

    return wait


class Watching(FakeClient):
    """The fake orchestrator; each time it is asked, it looks at the warehouse's connections."""

    def __init__(self, connections: Connections, runs: list[FlowRun], *, broken: bool = False) -> None:
        super().__init__(runs)
        self.seen: list[int] = []
        self._connections = connections
        self._broken = broken

    def read_flow_runs(self, **asked: Any) -> list[FlowRun]:
        self.seen.append(self._connections())
        return super().read_flow_runs(**asked)

    def read_task_runs(self, **asked: Any) -> list[Any]:
        if self._broken:
            raise OrchestratorUnavailableError("the Prefect API went away")
        return super().read_task_runs(**asked)


def stored() -> int:
    with lifespan(AppContainer, eager=[AppContainer.warehouse]) as container:
        history: HistoryStore = container.history()
        return len(history.flow_runs())


def test_with_the_orchestrator_overridden_no_connection_outlives_the_run(
    on_database: Settings, connections: Connections, none_left: Callable[[], None]
) -> None:
    orchestrator = Watching(connections, [flow_run() for _ in range(5)])
    with override(AppContainer, orchestrator=orchestrator), recording(AppContainer) as record:
        assert run_history().exists()

    none_left()
    assert min(orchestrator.seen) > 0, "while it ran there were connections"
    record.assert_opened("warehouse", "reports")
    record.assert_all_closed()
    assert stored() == 5


def test_with_the_real_api_no_connection_outlives_the_run(on_database: Settings, none_left: Callable[[], None]) -> None:
    began = datetime.now(UTC)

    @flow(name="nothing-much")
    def nothing_much() -> None: ...

    nothing_much()
    with recording(AppContainer) as record:
        report = run_history(since=began)

    none_left()
    record.assert_opened("orchestrator", "warehouse", "reports")
    record.assert_all_closed()
    assert "nothing-much" in report.read_text("utf-8")


def test_no_connection_outlives_a_run_that_fails(
    on_database: Settings,
    connections: Connections,
    none_left: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.run_history.store", store.with_options(retries=0))
    orchestrator = Watching(connections, [flow_run()], broken=True)
    with (
        override(AppContainer, orchestrator=orchestrator),
        recording(AppContainer) as record,
        pytest.raises(OrchestratorUnavailableError, match="went away"),
    ):
        run_history()

    none_left()
    record.assert_all_closed()
    assert {event.outcome_type for event in record.events if event.kind == "closed"} == {"OrchestratorUnavailableError"}


@pytest.mark.parametrize(("step", "error"), [("open", InjectedFault), ("close", InjectedFault)])
def test_no_connection_outlives_a_run_whose_reports_fail(
    on_database: Settings, connections: Connections, none_left: Callable[[], None], step: Any, error: Any
) -> None:
    orchestrator = Watching(connections, [])
    with (
        override(AppContainer, orchestrator=orchestrator),
        Faults(AppContainer).fail("reports", step),
        recording(AppContainer) as record,
        pytest.raises(error),
    ):
        run_history()

    none_left()
    assert record.still_open == []


def test_whatever_fails_the_application_closes_what_it_opened(
    on_database: Settings, connections: Connections, none_left: Callable[[], None]
) -> None:
    report = assert_closes_cleanly(AppContainer, {"orchestrator": Watching(connections, [])}, after_each=none_left)

    assert len(report.cases) == 6


def test_the_probe_sees_a_connection_that_is_left_open(on_database: Settings, connections: Connections) -> None:
    with open_warehouse(on_database.warehouse_url):
        assert connections() == 1
