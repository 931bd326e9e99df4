from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from containers.errors import ReportFolderError
from containers.services import publisher as publishing
from containers.services.charts import MOST_BARS, bar_step, duration_text
from containers.services.publisher import History, Publisher, percent_text, render, table_rows, terminal_table
from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def history(*names: str, outcome: Outcome = Outcome.COMPLETED, message: str | None = None) -> History:
    runs = [
        FlowRunRecord(name, name, f"run-{name}", outcome, outcome.title(), message, NOON, NOON, 1.5, 1)
        for name in names
    ]
    tasks = [TaskRunRecord(f"t-{name}", name, "load", outcome, NOON, NOON, 1.0, 1) for name in names]
    return History(runs, tasks, "the Prefect API at http://127.0.0.1:4200/api", NOON)


def test_a_report_needs_nothing_from_elsewhere() -> None:
    page = render(history("etl", "sync"))

    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert addresses == {"http://127.0.0.1:4200/api", "http://www.w3.org/1999/xlink"}, "the API's, and SVG's name space"
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)", page)


def test_a_report_shows_every_flow_with_its_figures_and_three_charts() -> None:
    page = render(history("etl", "sync"))

    assert page.count('<svg role="img"') == 3
    for text in ("etl", "sync", "100%", "1.5 s", "No finished runs yet"):
        assert (text in page) is (text != "No finished runs yet")


def test_names_and_messages_are_shown_as_text_whatever_is_in_them() -> None:
    page = render(history("<b>$x^2$</b>", "日本", outcome=Outcome.FAILED, message="<script>alert(1)</script>"))

    assert "<b>$" not in page
    assert "&lt;b&gt;$x^2$&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "日本" in page


def test_a_history_without_runs_says_so() -> None:
    page = render(history())

    assert "No finished runs yet" in page
    assert "<svg" not in page


def test_the_same_history_makes_the_same_page() -> None:
    assert render(history("etl", "sync")) == render(history("etl", "sync"))


def test_a_report_is_written_to_the_folder_or_where_it_was_asked_for(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "reports")

    assert publisher.write(history("etl")) == tmp_path / "reports" / "run-history.html"
    assert (
        publisher.write(history("etl"), tmp_path / "new" / "mine.html").read_text("utf-8").startswith("<!doctype html>")
    )
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["run-history.html"], "and nothing beside it"


def test_a_report_that_cannot_be_finished_leaves_the_last_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(tmp_path)
    path = publisher.write(history("etl"))
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(publishing.os, "fdopen", full_disk)
    with pytest.raises(ReportFolderError, match="No space left"):
        publisher.write(history("another"))

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_has_no_place_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    publisher = Publisher(tmp_path / "reports")

    with pytest.raises(ReportFolderError, match=r"mine\.html cannot be written: File exists"):
        publisher.write(history("etl"), tmp_path / "file" / "mine.html")
    with pytest.raises(ReportFolderError, match="Is a directory"):
        publisher.write(history("etl"), tmp_path)


def test_the_terminal_table_fits_eighty_columns() -> None:
    console = Console(width=80, record=True)
    console.print(terminal_table(history("customer-sync", outcome=Outcome.FAILED).flows))

    text = console.export_text()
    assert "customer-sync" in text
    assert "…" not in text
    assert "01 Mar 12:00" in text
    assert "✗" in text


def test_the_artifact_has_a_row_for_each_flow() -> None:
    (row,) = table_rows(history("etl", outcome=Outcome.CRASHED).flows)

    assert row == {
        "flow": "etl",
        "runs": 1,
        "success rate": "0%",
        "median": "1.5 s",
        "95th percentile": "1.5 s",
        "last failure": "2026-03-01 12:00 UTC",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "<1 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (1, "1 s"),
        (9.96, "10 s"),
        (59.96, "1 min"),
        (80, "1 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "n/a"), (0, "0%"), (1, "100%"), (0.5, "50%"), (0.9999, "99.9%"), (0.0001, "0.1%")]
)
def test_only_a_perfect_record_reads_a_hundred_per_cent(share: float | None, text: str) -> None:
    assert percent_text(share) == text


@pytest.mark.parametrize("span", [timedelta(0), timedelta(minutes=7), timedelta(days=3), timedelta(days=4000)])
def test_the_bars_over_time_are_never_too_many_to_read(span: timedelta) -> None:
    assert span / bar_step(NOON, NOON + span) <= MOST_BARS
