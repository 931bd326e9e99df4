"""A run's report: the picture as an artifact that Prefect's UI shows, and as one HTML file."""

from __future__ import annotations

import threading
from contextvars import copy_context
from html import escape
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate

from prefect_lifespan.observability.picture import Drawn, Picture, Row

KEY = "lifespan-report"
_WIDTH = 60  # characters of a bar
_OPENING, _HELD, _CLOSING, _NOTHING = "o", "=", "c", " "  # of one width in every browser's font


def save(picture: Picture, timeout_seconds: float) -> None:
    """Save the report as an artifact of its flow run.

    Raises:
        TimeoutError: the API has not answered in time; it may still get there.
        Exception: the API refused it, or cannot be reached.
    """
    drawn, failed = picture.drawn, list[Exception]()

    def create() -> None:
        try:
            with get_client(sync_client=True) as client:
                client.create_artifact(
                    ArtifactCreate(
                        key=KEY,
                        type="markdown",
                        description=f"What {drawn.container} opened and closed in this run.",
                        data=markdown(drawn),
                        metadata_=drawn.dumped(),
                        flow_run_id=UUID(drawn.flow_run),
                    )
                )
        except Exception as error:
            failed.append(error)

    # Prefect's client tries again for a long time where nobody answers, and a thread can be left behind.
    thread = threading.Thread(target=copy_context().run, args=(create,), name="lifespan-report", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        raise TimeoutError(f"the report was not saved within {timeout_seconds:g} s")
    if failed:
        raise failed[0]


def markdown(drawn: Drawn) -> str:
    """The report as Prefect's UI shows it: a timeline in characters, and a table."""
    names = [_name(row) for row in drawn.rows]
    width = max([len(name) for name in names], default=0)
    scale = f"{'0 s'.ljust(_WIDTH - 10)}{f'{drawn.seconds:.3f} s'.rjust(10)}"
    lines = [f"{'':{width}}  {scale}"]
    lines += [f"{name:{width}}  {_bar(row, drawn.seconds)}" for name, row in zip(names, drawn.rows, strict=True)]
    table = [
        "| resource | lives as long as | process | opened for | from (s) | open (s) | held (s) | close (s) | trouble |"
    ]
    table += ["|---|---|---|---|---:|---:|---:|---:|---|"]
    table += ["| " + " | ".join(_cell(cell) for cell in _cells(row, drawn)) + " |" for row in drawn.rows]
    more = [f"\n{drawn.left_out} more openings are not shown."] if drawn.left_out else []
    return "\n".join(
        [
            f"# Resources of {_cell(drawn.container)}",
            "",
            _cell(_summary(drawn)),
            "",
            "```text",
            *lines,
            "```",
            "",
            f"`{_OPENING}` opening, `{_HELD}` held, `{_CLOSING}` closing",
            "",
            *table,
            *more,
            "",
        ]
    )


def html(drawn: Drawn) -> str:
    """The same as one HTML file that needs nothing else."""
    rows = "\n".join(
        f"<tr><th>{escape(_name(row))}</th><td class=line>{_segments(row, drawn.seconds)}</td></tr>"
        for row in drawn.rows
    )
    heads = [
        "resource",
        "lives as long as",
        "process",
        "opened for",
        "from (s)",
        "open (s)",
        "held (s)",
        "close (s)",
        "trouble",
    ]
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row, drawn)) + "</tr>" for row in drawn.rows
    )
    more = f"<p>{drawn.left_out} more openings are not shown.</p>" if drawn.left_out else ""
    title = f"Resources of {escape(drawn.container)}"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em; color: #222; background: #fff }}
table {{ border-collapse: collapse; margin: 1em 0 }} th, td {{ padding: 3px 8px; text-align: left; vertical-align: top }}
.times {{ width: 100% }} .times th {{ white-space: nowrap; font-weight: normal; width: 1% }}
.line {{ position: relative; height: 18px; background: #f2f2f4 }}
.line i {{ position: absolute; top: 3px; bottom: 3px; min-width: 2px }}
.opening {{ background: #e0a030 }} .held {{ background: #3a7bd5 }} .closing {{ background: #8e5bb5 }} .failed {{ background: #c33 }}
.data td, .data th {{ border-bottom: 1px solid #ddd }}
</style>
<h1>{title}</h1>
<p>{escape(_summary(drawn))}</p>
<p><span class="opening">&emsp;</span> opening <span class="held">&emsp;</span> held <span class="closing">&emsp;</span> closing
<span class="failed">&emsp;</span> failed; 0 to {drawn.seconds:.3f} s</p>
<table class="times">
{rows}
</table>
<table class="data"><tr>{head}</tr>
{body}
</table>
{more}
</html>
"""


def _summary(drawn: Drawn) -> str:
    opened = sum(row.openings for row in drawn.rows)
    seconds = sum(row.opening_seconds for row in drawn.rows)
    slowest = max(drawn.rows, key=lambda row: row.opening_seconds, default=None)
    which = f", {slowest.path} longest with {slowest.opening_seconds:.3f} s" if slowest is not None and seconds else ""
    ended = f"failed ({drawn.outcome})" if drawn.outcome else "ended well"
    return (
        f"{drawn.run or 'The run'} {ended} after {drawn.seconds:.3f} s: {opened} openings took {seconds:.3f} s{which}; "
        f"{drawn.seconds_waited:.3f} s went by in waiting for tasks."
    )


def _name(row: Row) -> str:
    return f"{row.path} ({row.openings})" if row.openings > 1 else row.path


def _cells(row: Row, drawn: Drawn) -> list[str]:
    trouble = [f"{row.retries} retries"] if row.retries else []
    if row.openings and row.closed is None:
        trouble.append("not closed with the run")
    held = "" if row.opened is None else f"{_held_until(row, drawn.seconds) - row.opened:.3f}"
    return [
        _name(row),
        row.lifetime,
        str(row.pid),
        ", ".join(row.tasks),
        f"{row.began:.3f}",
        f"{row.opening_seconds:.3f}",
        held,
        "" if row.closed is None else f"{row.closing_seconds:.3f}",
        "; ".join([*trouble, *row.errors]),
    ]


def _held_until(row: Row, end: float) -> float:
    return end if row.closing is None else row.closing


def _parts(row: Row, end: float) -> list[tuple[str, float, float]]:
    """What a row did from when to when: opening, held, closing."""
    if row.opened is None:
        return [("opening", row.began, end if not row.errors else min(end, row.began + row.opening_seconds))]
    held = _held_until(row, end)
    parts = [("opening", row.began, row.opened), ("held", row.opened, held)]
    return parts if row.closed is None else [*parts, ("closing", held, row.closed)]


def _bar(row: Row, end: float) -> str:
    characters = [_NOTHING] * _WIDTH
    signs = {"held": _HELD, "opening": _OPENING, "closing": _CLOSING}
    # What is short shows over what is long: each takes a character at least.
    for kind, begin, until in sorted(_parts(row, end), key=lambda part: list(signs).index(part[0])):
        first = min(_WIDTH - 1, max(0, int(begin / end * _WIDTH))) if end else 0
        last = min(_WIDTH, max(first + 1, round(until / end * _WIDTH))) if end else 1
        characters[first:last] = signs[kind] * (last - first)
    return "".join(characters).rstrip()


def _segments(row: Row, end: float) -> str:
    def segment(kind: str, begin: float, until: float) -> str:
        left, width = 100 * max(0.0, begin) / end, 100 * max(0.0, until - begin) / end
        return f'<i class="{kind}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'

    if not end:
        return ""
    return "".join(
        segment("failed" if kind == "opening" and row.opened is None else kind, begin, until)
        for kind, begin, until in _parts(row, end)
    )


def _cell(text: str) -> str:
    """Text that a cell of a table of Markdown shows as it is."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
