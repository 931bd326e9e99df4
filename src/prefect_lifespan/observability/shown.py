"""A picture as people read it: in Markdown, which Prefect's UI shows, and as one HTML file that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from prefect_lifespan.observability.picture import Drawn, Row

_WIDTH = 60  # characters of a bar
# Of one width in every browser's font. What is short shows over what is long: each takes a character at least.
_SIGNS = {"held": "=", "waiting": "w", "opening": "o", "closing": "c", "failed": "x"}
_LEGEND = {
    "opening": "opening",
    "failed": "failed to open",
    "held": "held",
    "closing": "closing",
    "waiting": "waiting for tasks",
}
_HEADS = (
    "resource",
    "lives with",
    "process",
    "used by",
    "open (s)",
    "held (s)",
    "close (s)",
    "what happened",
)
_WAITING = "(the tasks)"

# What Markdown would read as more than characters: escapes, code, emphasis, links and images, tags, entities.
_MARKDOWN = re.compile(r"[\\`*~<]|(?<!\w)_|_(?!\w)|\](?=[(\[])|&#?\w+;")

Part = tuple[str, float, float]  # what, from when, until when


def markdown(drawn: Drawn) -> str:
    """A timeline in characters, and a table."""
    lines = [(" ".join(name.split()), parts) for name, parts in _lines(drawn)]  # a line each, or the block would end
    width = max([len(name) for name, _ in lines], default=0)
    scale = f"{'0 s'.ljust(_WIDTH - 10)}{f'{drawn.seconds:.3f} s'.rjust(10)}"
    legend = ", ".join(f"`{_SIGNS[kind]}` {said}" for kind, said in _LEGEND.items())
    bars = [f"{name:{width}}  {_bar(parts, drawn.seconds)}" for name, parts in lines]
    text = [f"# Resources of {_as_it_is(drawn.container)}", "", _as_it_is(_summary(drawn)), ""]
    text += ["```text", f"{'':{width}}  {scale}", *bars, "```", "", legend, ""]
    text += ["| " + " | ".join(_HEADS) + " |", "|---|---|---|---|---:|---:|---:|---|"]
    text += ["| " + " | ".join(_cell(cell) for cell in _cells(row, drawn)) + " |" for row in drawn.rows]
    return "\n".join([*text, *([f"\n{_left_out(drawn)}"] if drawn.left_out else []), ""])


def html(drawn: Drawn) -> str:
    """The same as a page."""
    title = f"Resources of {escape(drawn.container)}"
    legend = " ".join(f'<span class="{kind}">&emsp;</span> {said}' for kind, said in _LEGEND.items())
    lines = "\n".join(
        f"<tr><th>{escape(name)}</th><td class=line>{_segments(parts, drawn.seconds)}</td></tr>"
        for name, parts in _lines(drawn)
    )
    head = "".join(f"<th>{name}</th>" for name in _HEADS)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row, drawn)) + "</tr>" for row in drawn.rows
    )
    more = f"<p>{_left_out(drawn)}</p>" if drawn.left_out else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222; background: #fff }}
table {{ border-collapse: collapse; margin: 1em 0 }} th, td {{ padding: 3px 8px; text-align: left; vertical-align: top }}
.times {{ width: 100% }} .times th {{ white-space: nowrap; font-weight: normal; width: 1% }}
.line {{ position: relative; height: 18px; background: #f2f2f4 }}
.line i {{ position: absolute; top: 3px; bottom: 3px; min-width: 2px }}
.opening {{ background: #e0a030 }} .held {{ background: #3a7bd5 }} .closing {{ background: #8e5bb5 }}
.failed {{ background: #c33 }} .waiting {{ background: #999 }}
.data td, .data th {{ border-bottom: 1px solid #ddd }}
</style>
<h1>{title}</h1>
<p>{escape(_summary(drawn))}</p>
<p>{legend}; 0 to {drawn.seconds:.3f} s</p>
<table class="times">
{lines}
</table>
<table class="data"><tr>{head}</tr>
{body}
</table>
{more}
</html>
"""


def _summary(drawn: Drawn) -> str:
    opened = drawn.left_out + sum(row.openings for row in drawn.rows)
    seconds = drawn.left_out_seconds + sum(row.opening_seconds for row in drawn.rows)
    slowest = max(drawn.rows, key=lambda row: row.opening_seconds, default=None)
    which = ""
    if slowest is not None and seconds:
        share = round(100 * slowest.opening_seconds / seconds)
        which = f", {slowest.path} longest with {slowest.opening_seconds:.3f} s, {share} %"
    openings = "1 opening" if opened == 1 else f"{opened} openings"
    waited = 0.0 if drawn.waiting is None else drawn.waiting[1] - drawn.waiting[0]
    return (
        f"{drawn.run or 'The run'} {drawn.ended} after {drawn.seconds:.3f} s: {openings} took {seconds:.3f} s"
        f"{which}; {waited:.3f} s went by in waiting for tasks."
    )


def _left_out(drawn: Drawn) -> str:
    return f"{drawn.left_out} more openings are not shown."


def _name(row: Row) -> str:
    return f"{row.path} ({row.openings})" if row.openings > 1 else row.path


def _users(row: Row) -> str:
    return ", ".join(
        f"{task} \N{MULTIPLICATION SIGN}{runs}" if task else "the flow" for task, runs in row.tasks.items()
    )


def _cells(row: Row, drawn: Drawn) -> list[str]:
    told: list[str] = []
    if row.openings and row.closed is None:
        told.append("stays open" if row.lifetime == "process" else "not closed with the run")
    if row.opened is not None and not row.openings:
        told.append("was open before")
    if row.retried:
        told.append("tried again" if len(row.retried) == 1 else f"tried again {len(row.retried)} times")
    held = "" if row.opened is None else f"{_held_until(row, drawn.seconds) - row.opened:.3f}"
    return [
        _name(row),
        row.lifetime,
        str(row.pid) if row.pid == drawn.pid else f"worker {row.pid}",
        _users(row),
        f"{row.opening_seconds:.3f}",
        held,
        "" if row.closed is None else f"{row.closing_seconds:.3f}",
        "; ".join([*told, *row.errors]),
    ]


def _held_until(row: Row, end: float) -> float:
    return end if row.closing is None else row.closing


def _lines(drawn: Drawn) -> Iterator[tuple[str, list[Part]]]:
    """The lines of the timeline: a name, and what was when."""
    for row in drawn.rows:
        where = "" if row.pid == drawn.pid else f" in {row.pid}"
        yield f"{_name(row)}{where}", list(_parts(row, drawn.seconds))
    if drawn.waiting is not None and drawn.rows:
        yield _WAITING, [("waiting", *drawn.waiting)]


def _parts(row: Row, end: float) -> Iterator[Part]:
    """What a row did from when to when."""
    if row.opened is None:
        failed = min(end, row.began + row.opening_seconds) if row.errors else end
        yield ("opening", row.began, failed)
        yield from [("failed", failed, failed)] if row.errors else []
    else:
        held = _held_until(row, end)
        yield ("opening", row.began, row.opened)
        yield ("held", row.opened, held)
        yield from [] if row.closed is None else [("closing", held, row.closed)]
    for at in row.retried:
        yield ("failed", at, at)


def _bar(parts: list[Part], end: float) -> str:
    characters = [" "] * _WIDTH
    for kind, begin, until in sorted(parts, key=lambda part: list(_SIGNS).index(part[0])):
        first = min(_WIDTH - 1, max(0, int(begin / end * _WIDTH))) if end else 0
        last = min(_WIDTH, max(first + 1, round(until / end * _WIDTH))) if end else 1
        characters[first:last] = _SIGNS[kind] * (last - first)
    return "".join(characters).rstrip()


def _segments(parts: list[Part], end: float) -> str:
    def segment(kind: str, begin: float, until: float) -> str:
        left, width = 100 * max(0.0, begin) / end, 100 * max(0.0, until - begin) / end
        return f'<i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'

    return "".join(segment(*part) for part in parts) if end else ""


def _cell(text: str) -> str:
    """Text that a cell of a table of Markdown shows as it is."""
    return _as_it_is(text).replace("|", "\\|")


def _as_it_is(text: str) -> str:
    """Text that Markdown shows as it is: as code where it holds what Markdown would read, such as `__init__` in an error."""
    text = " ".join(text.split())
    if not _MARKDOWN.search(text):
        return text
    # Code ends at as many backticks as it begins with; a space on either side is not shown.
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}"
