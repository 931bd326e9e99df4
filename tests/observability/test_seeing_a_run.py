"""What people see of runs: events of Prefect's, spans, totals, the report; and that none of it fails or tells secrets."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from dependency_injector import containers, providers
from markdown_it import MarkdownIt
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prefect import flow, task
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_lifespan import Event, Provide, TaskResource, inject, lifespan
from prefect_lifespan.command.app import run as command
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.observability import configured as settings
from prefect_lifespan.observability.picture import MOST_ROWS, Picture
from prefect_lifespan.observability.report import save, saved
from prefect_lifespan.observability.shown import html, markdown
from tests.observability.artifacts import drawn_of
from tests.observability.silent import Between

SECRET = "hunter22-of-the-warehouse"


def fails_to_close(url: str) -> Iterator[str]:
    yield url
    raise OSError(f"cannot say goodbye to {url}")


class App(containers.DeclarativeContainer):
    warehouse = providers.Resource(fails_to_close, f"postgresql://me:{SECRET}@db/app")
    queue = providers.Resource(lambda warehouse: "queue", warehouse)
    session: Any = TaskResource(lambda queue: "session", queue)


@task
@inject
def use(number: int, session: str = Provide[App.session]) -> int:
    return number


def run_it(**options: Any) -> str:
    """A run whose warehouse does not close; its id."""
    ids: list[str] = []

    @flow(name="seen")
    @lifespan(App, on_close_error="warn", **options)
    def seen() -> None:
        ids.append(str(flow_run.get_id()))
        use.map([1, 2]).wait()

    seen()
    return ids[0]


def test_failures_are_events_of_prefect_that_name_the_resource_and_the_run(sent: Any) -> None:
    run = run_it()
    (failed,) = sent.ours()
    assert failed.event == "prefect-lifespan.resource.close-failed"
    name = f"{App.__qualname__}.warehouse"
    assert failed.resource.id.endswith(name)
    assert failed.resource.id.startswith("prefect-lifespan.resource.")
    assert f"prefect.flow-run.{run}" in {related.id for related in failed.related}
    assert failed.payload["error_type"] == "OSError"
    assert failed.payload["error"] == "cannot say goodbye to postgresql://me:***@db/app"
    assert failed.payload["lifetime"] == "run"
    assert SECRET not in failed.model_dump_json()


def test_all_openings_and_closings_are_events_where_the_settings_say_so(
    sent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_EVENTS", "all")
    run_it()
    events = {(event.event.rpartition(".")[2], event.resource.name.rpartition(".")[2]): event for event in sent.ours()}
    assert set(events) == {
        *(("opened", name) for name in ("warehouse", "queue", "session")),
        *(("closed", name) for name in ("queue", "session")),
        ("close-failed", "warehouse"),
    }
    assert events["closed", "queue"].follows == events["opened", "queue"].id
    assert any(related.role == "task-run" for related in events["opened", "session"].related)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_EVENTS", "none")
    known = len(sent.ours())
    run_it()
    assert len(sent.ours()) == known


def test_a_lifespan_and_each_opening_and_closing_are_spans_of_the_run_they_happen_in(
    spans: InMemorySpanExporter,
) -> None:
    spans.clear()
    tracer = trace.get_tracer("test")
    with tracer.start_as_current_span("the run") as parent:
        run_it()
    made = {span.name.replace(f"{App.__qualname__}.", ""): span for span in spans.get_finished_spans()}
    assert set(made) >= {"open warehouse", "open queue", "open session", "close session", "close queue"}
    assert f"lifespan {App.__qualname__}" in made
    for name in ("open warehouse", "close queue", f"lifespan {App.__qualname__}"):
        of = made[name].parent
        assert of is not None
        assert of.trace_id == parent.get_span_context().trace_id
    failed = made["close warehouse"]
    assert failed.status.status_code is trace.StatusCode.ERROR
    (recorded,) = failed.events
    assert recorded.attributes is not None
    assert recorded.attributes["exception.message"] == "cannot say goodbye to postgresql://me:***@db/app"
    assert failed.start_time is not None
    assert failed.end_time is not None
    assert failed.start_time <= failed.end_time
    assert SECRET not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_the_log_of_a_run_ends_with_what_it_took_in_all(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "prefect.flow_runs.lifespan"):
        run_it()
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Totals")]
    assert line.startswith(f"Totals of {App.__qualname__}: opened 4 in ")
    assert "slowest: " in line
    assert "s for tasks, closed 4 in" in line
    assert line.endswith(", 1 failed")


def test_a_report_is_an_artifact_of_its_run_and_the_command_writes_it_as_one_file(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_it(report=True)
    artifact = saved(UUID(run))
    assert artifact is not None
    assert artifact.type == "markdown"
    text = str(artifact.data)
    assert text.startswith(f"# Resources of {App.__qualname__}")
    assert "session (2)" in text
    assert "close-failed: OSError: cannot say goodbye to postgresql://me:***@db/app" in text
    assert command(["report", run, "-o", str(tmp_path / "run.html")]) == 0
    page = (tmp_path / "run.html").read_text("utf-8")
    assert "<td>use \N{MULTIPLICATION SIGN}2</td>" in page
    assert SECRET not in page + text + json.dumps(artifact.metadata_)
    capsys.readouterr()
    assert command(["report", "00000000-0000-0000-0000-000000000000"]) == 1
    assert "report=True" in capsys.readouterr().err
    assert command(["report", "yesterday"]) == 2
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        assert command(["report", run]) == 2
    assert "Cure: start it, or set PREFECT_API_URL" in capsys.readouterr().err


def test_an_api_that_does_not_answer_holds_up_a_report_no_longer_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        picture = Picture("App", "a run", "00000000-0000-0000-0000-000000000000")
        picture.ended("ended well", None, [])
        with (
            temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{silent.getsockname()[1]}/api"}),
            pytest.raises(TimeoutError, match="not saved within 0.1 s"),
        ):
            save(picture, 0.1)


def test_a_run_whose_api_is_silent_at_its_end_ends_as_it_did_after_the_time_that_the_settings_say(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_EVENTS", "all")
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_REPORT_TIMEOUT_SECONDS", "0.2")
    took: list[float] = []

    with Between.of(prefect_server) as (api, address), temporary_settings({PREFECT_API_URL: address}):

        @flow
        def run() -> str:
            with lifespan(App, report=True, on_close_error="warn"):
                api.fall_silent()
                started = time.monotonic()
            took.append(time.monotonic() - started)
            api.answer()  # Prefect itself waits for it to hear of the run's end
            return "done"

        assert run() == "done"
    assert 0.2 <= took[0] < 30  # where nothing bounds it, Prefect's client goes on for a minute
    assert "TimeoutError: the report was not saved within 0.2 s" in caplog.text


def test_a_picture_of_nothing_can_be_drawn() -> None:
    picture = Picture("App", "", "")
    picture.drawn.seconds = 0.0
    assert "# Resources of App" in markdown(picture.drawn)
    assert "Resources of App" in html(picture.drawn)


def test_an_error_that_utf8_cannot_say_is_in_the_report_of_its_run() -> None:
    class Files(containers.DeclarativeContainer):
        inbox = providers.Resource(fails_to_close, os.fsdecode(b"caf\xe9.csv"))

    ids: list[str] = []

    @flow
    @lifespan(Files, report=True, on_close_error="warn")
    def reads() -> None:
        ids.append(str(flow_run.get_id()))

    reads()
    assert drawn_of(ids[0]).rows[0].errors == ["close-failed: OSError: cannot say goodbye to caf\\udce9.csv"]


def events_of(opening: str, path: str, seconds: float) -> list[Event]:
    return [Event(kind, "App", path, seconds, Lifetime.RUN, opening=opening) for kind in ("opened", "closed")]


def test_a_picture_of_many_resources_shows_the_slowest_and_counts_those_that_it_does_not_show() -> None:
    picture = Picture("App", "the run", "")
    for number in range(MOST_ROWS + 100):
        for event in events_of(str(number), f"quick{number}", 0.001):
            picture(event)
    for event in events_of("last", "slow", 2.0):
        picture(event)
    picture.ended("ended well", None, [])
    text = markdown(picture.drawn)
    assert len(picture.drawn.rows) == MOST_ROWS
    assert f"{MOST_ROWS + 101} openings took 2.300 s, slow longest with 2.000 s, 87 %" in text
    assert "101 more openings are not shown" in text
    assert "| slow |" in text


def test_a_picture_of_one_resource_speaks_of_one_opening() -> None:
    picture = Picture("App", "the run", "")
    for event in events_of("only", "db", 0.5):
        picture(event)
    picture.ended("ended well", None, [])
    assert ": 1 opening took 0.500 s, db longest" in markdown(picture.drawn)


def test_a_picture_shows_names_and_errors_as_they_are() -> None:
    """As Markdown would have it, `__init__` is bold, `![](...)` fetches an image, and a line of backticks ends a block."""
    name, error = "a|b <script>\n```\nc", "no `x` in __init__() ![i](https://elsewhere/i.png) &lt;"
    picture = Picture("make.<locals>.App", "the run", "")
    opened, closed = events_of("one", name, 0.1)
    for event in (opened, replace(closed, kind="close-failed", error_type="TypeError", error_text=error)):
        picture(event)
    picture.ended("ended well", None, [])
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(picture.drawn))
    heading, _, legend, *cells = (token for token in tokens if token.type == "inline")
    (block,) = (token for token in tokens if token.type == "fence")
    assert [heading.content, legend.content[:3]] == ["Resources of ` make.<locals>.App `", "`o`"]
    assert "a|b <script> ``` c  " in block.content
    row = [(each.type, each.content) for cell in cells[8:] for each in cell.children or ()]
    assert (row[0], row[-1]) == (
        ("code_inline", "a|b <script> ``` c"),
        ("code_inline", f"close-failed: TypeError: {error}"),
    )
    assert "<script>" not in html(picture.drawn)


def test_settings_that_do_not_hold_warn_and_the_defaults_stand_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PREFECT_INTEGRATIONS_LIFESPAN_EVENTS", f"some-{os.getpid()}")
    assert settings.configured().events == "failures"
    assert "[integrations.lifespan]" in caplog.text


def test_settings_are_read_from_prefect_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "prefect.toml").write_text('[integrations.lifespan]\nevents = "all"\nreport = true\n')
    monkeypatch.chdir(tmp_path)
    read = settings.LifespanSettings()
    assert (read.events, read.report, read.totals) == ("all", True, True)
