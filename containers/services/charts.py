"""The report's charts, drawn by Matplotlib as SVG for inlining.

Matplotlib rather than a JavaScript library: a chart is 20-60 kB instead of megabytes of script, it shows where
scripts are blocked (mail, artifact viewers), and prints. Its colours are the page's own variables, so the charts
follow the page into the dark; its words stay text, so they can be searched and read aloud.
"""

# pyright: reportUnknownMemberType=false
# Matplotlib leaves the types of its keyword arguments open.

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from containers.services.records import FlowRunRecord, Outcome
from containers.services.summary import FlowSummary, TaskSummary, percentile

INK, MUTED, GRID, ACCENT = "#1f2430", "#6b7280", "#e5e7eb", "#4f6bed"
COLOURS = {
    Outcome.COMPLETED: "#2aa876",
    Outcome.FAILED: "#e5484d",
    Outcome.CRASHED: "#f5a524",
    Outcome.CANCELLED: "#9aa1ad",
}
# What the page calls these colours; see report.html.j2.
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", ACCENT: "accent"} | {
    colour: outcome.value.lower() for outcome, colour in COLOURS.items()
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prefect-lifespan",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
_STEPS = [
    timedelta(seconds=seconds)
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
]
MOST_BARS = 32
SHORTEST = 0.001  # a logarithmic scale has no nought
MOST_FLOWS = 12
MOST_TASKS = 8
FEWEST_ROWS = 6  # the two charts stand side by side: neither much lower than the other


def runs_over_time(runs: Sequence[FlowRunRecord]) -> str:
    """How many runs ended when, stacked by outcome, in steps that make for a readable number of bars."""
    with _style():
        figure, axes = _canvas(10.4, 2.7)
        step = bar_step(runs[0].ended_at, runs[-1].ended_at)
        first = _floor(runs[0].ended_at, step)
        bars = int((_floor(runs[-1].ended_at, step) - first) / step) + 1
        base = [0] * bars
        for outcome, colour in COLOURS.items():
            heights = [0] * bars
            for run in runs:
                if run.outcome is outcome:
                    heights[int((run.ended_at - first) / step)] += 1
            if any(heights):
                axes.bar(range(bars), heights, bottom=base, width=0.82, color=colour, label=outcome.value.title())
                base = [below + height for below, height in zip(base, heights, strict=True)]
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", pad=7)
        axes.set_xlim(-0.6, max(bars, 8) - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        labels = [_moment(first + step * index, step) for index in range(bars)]
        every = max(1, -(-bars // 9))
        axes.set_xticks(range(0, bars, every), labels[::every])
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(-0.01, 1.0), frameon=False, handlelength=0.9, fontsize=9)
        return _svg(figure, "Runs over time, by outcome")


def durations(flows: Sequence[FlowSummary], runs: Sequence[FlowRunRecord]) -> str:
    """Each run of the busiest flows as a dot on a scale of time, with the median and the 95th percentile."""
    shown = sorted(flows, key=lambda flow: (-flow.runs, flow.flow_name))[:MOST_FLOWS]
    shown.sort(key=lambda flow: flow.median_seconds)
    with _style():
        figure, axes = _canvas(6.2, 0.95 + 0.42 * max(len(shown), FEWEST_ROWS))
        for row, flow in enumerate(shown):
            for outcome, colour in COLOURS.items():
                seconds = [
                    max(run.duration_seconds, SHORTEST)
                    for run in runs
                    if run.flow_name == flow.flow_name and run.outcome is outcome
                ]
                # Spread evenly by the golden ratio: dots that would hide each other, without chance in the picture.
                places = [row + 0.36 * ((index * 0.618034 + 0.5) % 1 - 0.5) for index in range(len(seconds))]
                axes.scatter(seconds, places, s=30, color=colour, alpha=0.6, linewidths=0, zorder=3)
            median, high = max(flow.median_seconds, SHORTEST), max(flow.p95_seconds, SHORTEST)
            axes.hlines(row, median, high, color=INK, linewidth=1.4, zorder=4)
            axes.vlines(median, row - 0.27, row + 0.27, color=INK, linewidth=2.2, zorder=4)
            axes.vlines(high, row - 0.14, row + 0.14, color=INK, linewidth=1.4, zorder=4)
        axes.set_xscale("log")
        every = [max(run.duration_seconds, SHORTEST) for run in runs]
        axes.set_xlim(min(every) / 1.6, max(every) * 1.6)
        axes.xaxis.set_major_locator(_Durations())
        axes.xaxis.set_major_formatter(FuncFormatter(_tick_text))
        axes.xaxis.minorticks_off()
        _rows(axes, [_shortened(flow.flow_name) for flow in shown])
        return _svg(figure, "Duration of each run by flow, with median and 95th percentile")


def time_by_task(tasks: Sequence[TaskSummary]) -> str:
    """Where the time went: the tasks that took the most of it, all their runs together."""
    shown = list(reversed(tasks[:MOST_TASKS]))
    with _style():
        figure, axes = _canvas(6.2, 0.95 + 0.42 * max(len(shown), FEWEST_ROWS))
        totals = [task.total_seconds for task in shown]
        axes.barh(range(len(shown)), totals, height=0.56, color=ACCENT, zorder=3)
        widest = max(totals, default=0) or 1
        for row, task in enumerate(shown):
            text = f"{duration_text(task.total_seconds)} · {task.runs} run{'s' if task.runs != 1 else ''} in {_shortened(task.flow_name, 20)}"
            axes.text(task.total_seconds + widest * 0.015, row, text, va="center", color=MUTED, fontsize=9)
        axes.set_xlim(0, widest * 1.75)
        axes.xaxis.set_visible(False)  # each bar says its own length
        axes.spines.bottom.set_visible(False)
        _rows(axes, [_shortened(task.task_name) for task in shown])
        return _svg(figure, "Total time by task")


def bar_step(first: datetime, last: datetime) -> timedelta:
    """The width of a bar: the shortest round one that keeps their number readable."""
    span = last - first
    for step in _STEPS:
        if span / step <= MOST_BARS:
            return step
    days = -(-span // (MOST_BARS * timedelta(days=1)))
    return timedelta(days=days)


def duration_text(seconds: float) -> str:
    """A duration as people say it: 340 ms, 1.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "<1 ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 9.95 and seconds != int(seconds) else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


class _Durations(MaxNLocator):
    """Ticks at round durations, on a logarithmic scale where decades alone are too few."""

    ROUND = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 300, 900, 3600, 10800, 43200, 86400)

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """The round durations in sight, thinned out until they can be read."""
        seen = [seconds for seconds in self.ROUND if vmin <= seconds <= vmax]
        return seen[:: max(1, -(-len(seen) // 7))] or [percentile([vmin, vmax], 50)]


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(cast("Any", _STYLE))


def _tick_text(seconds: float, _position: int | None) -> str:
    return duration_text(seconds)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_yticks(range(len(labels)), list(labels))
    axes.tick_params(axis="y", labelcolor=INK)


def _floor(moment: datetime, step: timedelta) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if step >= timedelta(days=1) else midnight + (moment - midnight) // step * step


def _moment(moment: datetime, step: timedelta) -> str:
    if step >= timedelta(days=1):
        return f"{moment:%d %b}"
    if step >= timedelta(hours=1):
        return f"{moment:%d %b %H:%M}" if moment.hour else f"{moment:%d %b}"
    return f"{moment:%H:%M}" if step >= timedelta(minutes=1) else f"{moment:%H:%M:%S}"


def _shortened(name: str, longest: int = 26) -> str:
    name = name if len(name) <= longest else name[: longest - 1] + "…"
    return name.replace("$", r"\$")  # a dollar would start a formula


def _svg(figure: Figure, title: str) -> str:
    """The figure as an element to inline: no XML head, sized by the page, in the page's colours and font."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # The page's font draws the words, not ours: a flow named in Japanese is only measured a little wrong.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    size = re.search(r'viewBox="([^"]*)"', text)
    body = text[text.index("</defs>") + len("</defs>") : text.rindex("</svg>")]
    body = re.sub(r'<g id="[^"]*"', "<g", body)  # names that would repeat from one chart to the next
    body = re.sub(r"font(-family)?: [^;\"]*(?=[;\"])", _font_size, body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    box = size.group(1) if size else ""
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg role="img" aria-label="{title}" viewBox="{box}" {links}>{body}</svg>'


def _font_size(declaration: re.Match[str]) -> str:
    """Keeps a font's size and leaves its family to the page."""
    size = re.search(r"\d+(\.\d+)?px", declaration.group())
    return f"font-size: {size.group()}" if size else "font-style: normal"
