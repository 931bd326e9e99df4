from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from containers.app import AppContainer
from containers.errors import OrchestratorUnavailableError
from containers.services.history import HistoryStore
from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord, Window
from containers.settings import Settings
from flows.run_history import advances, app, plan, run_history, store
from prefect_lifespan import lifespan, override

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OVERLAP = timedelta(minutes=5)


@task
def work(number: int) -> int:
    return 10 // number


@flow(name="sample")
def sample(number: int) -> int:
    return work(number)


class FakeRuns:
    """An API with five finished runs in three pages; reading the task runs of one of them may fail."""

    address = "a fake"

    def __init__(self, broken: str | None = None) -> None:
        self.broken = broken
        self.windows: list[Window] = []

    def flow_runs(self, window: Window) -> Iterator[list[FlowRunRecord]]:
        self.windows.append(window)
        runs = [
            FlowRunRecord(f"r{n}", "etl", f"n{n}", Outcome.COMPLETED, "Completed", None, NOON, NOON, 1.0, 1)
            for n in range(5)
        ]
        yield from (runs[start : start + 2] for start in (0, 2, 4))

    def task_runs(self, flow_run_ids: Sequence[str]) -> Iterator[TaskRunRecord]:
        if self.broken in flow_run_ids:
            raise OrchestratorUnavailableError("the Prefect API went away")
        for key in flow_run_ids:
            yield TaskRunRecord(f"t{key}", key, "load", Outcome.COMPLETED, NOON, NOON, 1.0, 1)


def history_of(settings: Settings) -> tuple[list[FlowRunRecord], list[TaskRunRecord], datetime | None]:
    with lifespan(AppContainer, eager=[AppContainer.warehouse]) as container:
        history: HistoryStore = container.history()
        return history.flow_runs(), history.task_runs(), history.watermark()


def test_real_runs_end_up_in_warehouse_report_and_artifact(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    began = datetime.now(UTC)
    for number in (1, 2, 0):
        sample(number, return_state=True)

    path = run_history(since=began)

    runs, _, _ = history_of(settings)
    mine = [run for run in runs if run.flow_name == "sample"]
    assert sorted(run.outcome for run in mine) == ["COMPLETED", "COMPLETED", "FAILED"], "in two pages of two"
    assert "sample" in path.read_text("utf-8")
    assert "sample" in capsys.readouterr().out, "the table for the terminal"
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["run-history"])))
    assert any("sample" in str(artifact.data) for artifact in artifacts)


def test_a_second_run_changes_nothing(settings: Settings) -> None:
    with override(AppContainer, runs=FakeRuns()):
        run_history()
        first = history_of(settings)
        run_history()
        second = history_of(settings)

    assert first[:2] == second[:2]
    assert len(first[0]) == len(first[1]) == 5
    assert first[2] is not None
    assert second[2] is not None
    assert second[2] > first[2]


def test_each_run_reads_on_from_a_little_before_where_the_last_one_ended(settings: Settings) -> None:
    fake = FakeRuns()
    with override(AppContainer, runs=fake):
        run_history()
        run_history()
        run_history(full=True)

    first, second, full = fake.windows
    assert first.since is None
    assert second.since == first.until - OVERLAP
    assert full.since is None


def test_a_batch_that_cannot_be_stored_keeps_the_watermark_and_the_report_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The retries are Prefect's to test, and to wait for.
    monkeypatch.setattr("flows.run_history.store", store.with_options(retries=0))
    with (
        override(AppContainer, runs=FakeRuns(broken="r3")),
        pytest.raises(OrchestratorUnavailableError, match="went away"),
    ):
        run_history()

    runs, tasks, watermark = history_of(settings)
    assert watermark is None
    assert {each.flow_run_id for each in tasks} == {run.id for run in runs}, "whole batches only"
    assert "r3" not in {run.id for run in runs}
    assert list(settings.report_folder.iterdir()) == []

    with override(AppContainer, runs=FakeRuns()):
        run_history()
    assert len(history_of(settings)[0]) == 5, "the next run reads what this one could not"


def test_no_parameter_of_the_flow_is_one_that_is_injected() -> None:
    assert set(run_history.parameters.properties) == {"since", "full", "report"}


@pytest.mark.parametrize(
    ("last", "since", "full", "expected"),
    [
        (None, None, False, None),
        (NOON, None, False, NOON - OVERLAP),
        (NOON, NOON - timedelta(days=3), False, NOON - timedelta(days=3)),
        (NOON, datetime(2026, 1, 1), False, datetime(2026, 1, 1, tzinfo=UTC)),  # noqa: DTZ001  as the command line gives it
        (NOON, None, True, None),
    ],
)
def test_what_is_read_follows_from_the_watermark_and_what_was_asked_for(
    last: datetime | None, since: datetime | None, full: bool, expected: datetime | None
) -> None:
    window = plan(last, since=since, full=full, overlap=OVERLAP)

    assert window.since == expected
    assert window.until > NOON - timedelta(days=9999)


@pytest.mark.parametrize(
    ("since", "last", "moves"),
    [
        (None, None, True),
        (None, NOON, True),
        (NOON - OVERLAP, NOON, True),
        (NOON, None, False),
        (NOON + OVERLAP, NOON, False),
    ],
)
def test_the_watermark_moves_only_where_no_gap_is_left(
    since: datetime | None, last: datetime | None, moves: bool
) -> None:
    assert advances(Window(since, NOON + timedelta(days=1)), last) is moves


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("APP_WAREHOUSE__URL", f"mysql://app:{SECRET}@db/x", "warehouse.url: expected sqlite:///"),
        (
            "APP_WAREHOUSE__URL",
            f"postgresql://app:{SECRET}@127.0.0.1:1/x",
            "The warehouse at postgresql+psycopg://app:***@",
        ),
        ("APP_REPORTS__FOLDER", "/proc/reports", "The report folder /proc/reports cannot be made"),
    ],
)
def test_the_command_says_what_is_wrong_and_writes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)

    result = CliRunner().invoke(app, [])

    assert result.exit_code == 1
    assert told in result.output
    assert SECRET not in result.output
    assert "Traceback" not in result.output
    assert not list(settings.report_folder.glob("*"))


def test_the_command_names_an_api_that_does_not_answer_before_anything_is_written(
    settings: Settings, tmp_path: Path
) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        result = CliRunner().invoke(app, [])

    assert result.exit_code == 1
    assert "The Prefect API at http://127.0.0.1:1/api/ cannot be used" in result.output
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_report_where_it_is_asked_to(settings: Settings, tmp_path: Path) -> None:
    with override(AppContainer, runs=FakeRuns()):
        result = CliRunner().invoke(app, ["--full", "--report", str(tmp_path / "mine.html")])

    assert result.exit_code == 0, result.output
    assert (tmp_path / "mine.html").exists()
    assert f"Report: {tmp_path / 'mine.html'}" in result.output.replace("\n", " ")


def test_since_and_full_exclude_each_other() -> None:
    result = CliRunner().invoke(app, ["--full", "--since", "2026-01-01"])

    assert result.exit_code == 2
    assert "exclude each other" in result.output
