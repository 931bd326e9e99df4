"""Turns a history into what people look at: a terminal table, the rows of a Prefect artifact, one HTML file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, StrictUndefined
from rich import box
from rich.table import Table
from rich.text import Text

from containers.errors import ReportFolderError
from containers.services import charts
from containers.services.records import FlowRunRecord, Outcome, TaskRunRecord
from containers.services.summary import FlowSummary, success_rate, summarise_flows, summarise_tasks

TEMPLATE = Path(__file__).with_name("report.html.j2")
LATEST_FAILURES = 8


@dataclass(frozen=True, slots=True)
class History:
    """What a report is made of: every stored run, where it came from, and up to when it was read."""

    runs: Sequence[FlowRunRecord]
    tasks: Sequence[TaskRunRecord]
    address: str
    read_until: datetime

    @property
    def flows(self) -> list[FlowSummary]:
        """The figures of each flow, by name."""
        return summarise_flows(self.runs)


class Publisher:
    """Publishes a history. Files appear whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, history: History, path: Path | None = None) -> Path:
        """Writes the report beside its final place and moves it there in one step.

        Args:
            history: what to report.
            path: where to; `run-history.html` in the report folder where None.

        Raises:
            ReportFolderError: when there cannot be a file there.
        """
        target = path or self._folder / "run-history.html"
        page = render(history)
        try:
            _write_whole(target, page)
        except OSError as error:
            msg = f"The report {target} cannot be written: {error.strerror or error}. Choose another place for it."
            raise ReportFolderError(msg) from None
        return target


def _write_whole(target: Path, page: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(page)
        part.chmod(0o644)  # mkstemp keeps files private; a report is for others too
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def render(history: History) -> str:
    """The whole report as one HTML page that needs nothing from elsewhere."""
    runs = sorted(history.runs, key=lambda run: (run.ended_at, run.id))
    flows, tasks = history.flows, summarise_tasks(history.tasks, runs)
    drawn: dict[str, str] = {}
    bar = timedelta(0)
    if runs:
        bar = charts.bar_step(runs[0].ended_at, runs[-1].ended_at)
        drawn["over_time"] = charts.runs_over_time(runs)
        drawn["durations"] = charts.durations(flows, runs)
    if tasks:
        drawn["by_task"] = charts.time_by_task(tasks)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    cast("dict[str, Any]", environment.filters).update(  # pyright: ignore[reportUnknownMemberType]
        minute=_minute, duration=charts.duration_text, percent=percent_text
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        runs=runs,
        flows=flows,
        tasks=tasks,
        figures=_figures(runs, flows, len(history.tasks)),
        failures=[run for run in reversed(runs) if run.outcome.is_failure][:LATEST_FAILURES],
        charts=drawn,
        bar=charts.duration_text(bar.total_seconds()) if bar < timedelta(days=1) else f"{bar.days} d",
        span=_span(runs[0].ended_at, runs[-1].ended_at) if runs else "",
        address=history.address,
        read_until=history.read_until,
    )


def _day(moment: datetime) -> str:
    return f"{moment:%d %B %Y}"


def _span(first: datetime, last: datetime) -> str:
    """From when to when, as briefly as it can be said."""
    if first.date() == last.date():
        return f"{_day(first)}, {first:%H:%M} to {last:%H:%M}"
    return f"{_day(first)} to {_day(last)}"


def _minute(moment: datetime) -> str:
    return f"{moment:%d %b %Y, %H:%M}"


def _figures(runs: Sequence[FlowRunRecord], flows: Sequence[FlowSummary], tasks: int) -> list[tuple[str, str]]:
    """The numbers at the top of the page."""
    return [
        (f"{len(runs):,}", f"flow runs of {len(flows)} flow{'s' if len(flows) != 1 else ''}"),
        (percent_text(success_rate(runs)), "success rate"),
        (f"{tasks:,}", "task runs"),
        (charts.duration_text(sum(run.duration_seconds for run in runs)), "time spent running"),
        (f"{sum(run.outcome.is_failure for run in runs):,}", "failed or crashed"),
    ]


def table_rows(flows: Sequence[FlowSummary]) -> list[dict[str, Any]]:
    """The figures of each flow as rows of a Prefect table artifact."""
    return [
        {
            "flow": flow.flow_name,
            "runs": flow.runs,
            "success rate": percent_text(flow.success_rate),
            "median": charts.duration_text(flow.median_seconds),
            "95th percentile": charts.duration_text(flow.p95_seconds),
            "last failure": f"{flow.last_failure.ended_at:%Y-%m-%d %H:%M} UTC" if flow.last_failure else "none",
        }
        for flow in flows
    ]


def terminal_table(flows: Sequence[FlowSummary]) -> Table:
    """The figures of each flow for the terminal, with the latest runs as a strip of colour."""
    table = Table(
        title="Run history, times in UTC",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="dim",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("flow", overflow="fold")
    for figure in ("runs", "success", "median", "p95"):
        table.add_column(figure, justify="right", no_wrap=True)
    table.add_column("latest runs", no_wrap=True)
    table.add_column("last failure", no_wrap=True)
    tones = {Outcome.COMPLETED: "green", Outcome.FAILED: "red", Outcome.CRASHED: "yellow", Outcome.CANCELLED: "dim"}
    for flow in flows:
        strip = Text()
        for run in flow.recent[-10:]:
            # Shape as well as colour: a pipe or a file shows no colour.
            strip.append("■" if run.outcome is Outcome.COMPLETED else "✗", style=tones[run.outcome])
        rate = Text(percent_text(flow.success_rate), style="green" if flow.success_rate == 1 else "bold")
        failed = Text(f"{flow.last_failure.ended_at:%d %b %H:%M}" if flow.last_failure else "none", style="dim")
        median, high = charts.duration_text(flow.median_seconds), charts.duration_text(flow.p95_seconds)
        table.add_row(Text(flow.flow_name, style="bold"), str(flow.runs), rate, median, high, strip, failed)
    return table


def percent_text(share: float | None) -> str:
    """A share in per cent. Only a perfect record reads 100 %, only none at all reads 0 %."""
    if share is None:
        return "n/a"
    if share in {0, 1}:
        return f"{share:.0%}"
    return f"{min(max(share * 100, 0.1), 99.9):.1f}%" if not 0.01 <= share < 0.99 else f"{share:.0%}"
