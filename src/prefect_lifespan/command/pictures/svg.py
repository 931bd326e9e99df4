"""A container as one SVG file, which needs nothing else: no script, no font, nothing from the network."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from prefect_lifespan.command.pictures.layout import (
    DETAIL_PIXELS,
    NAME_PIXELS,
    Layout,
    Line,
    Rectangle,
    asking,
    layout_of,
    shortened,
)
from prefect_lifespan.command.pictures.picture import COLOURS, LEGEND, Picture
from prefect_lifespan.describing import DescribedNode

_MARGIN = 20
_HEAD = 74  # above the graph: the title, and the legend
_LEAST = 880  # pixels that the legend needs

STYLE = """
text { font-family: ui-sans-serif, system-ui, sans-serif; fill: #111827; font-size: 10px; }
.title { font-size: 17px; font-weight: 600; }
.name { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11px; }
.detail { fill: #4b5563; }
.mark { font-weight: 600; }
.async { fill: #047857; } .overridden { fill: #0e7490; } .unused { fill: #b91c1c; }
.box { fill: #f9fafb; stroke: #9ca3af; }
.edge { fill: none; stroke: #6b7280; stroke-width: 1.1; }
.asks { fill: #1d4ed8; }
"""


def svg_of(picture: Picture) -> str:
    """The text of the file."""
    return "\n".join(_lines(picture, layout_of(picture))) + "\n"


def _lines(picture: Picture, layout: Layout) -> Iterator[str]:
    width = max(layout.width, _LEAST) + 2 * _MARGIN
    height = layout.height + _HEAD + _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(picture.description.container)}">'
    )
    yield f"<style>{STYLE}</style>"
    yield (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0.8 L8 4 L0 7.2 z" fill="#6b7280"/></marker></defs>'
    )
    yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
    opened = f" opened by {', '.join(picture.opened_by)}" if picture.opened_by else ""
    yield (
        f'<text x="{_MARGIN}" y="28" class="title">{escape(picture.description.container)}'
        f'<tspan class="detail" font-size="12" font-weight="400">{escape(opened)}</tspan></text>'
    )
    yield from _legend()
    yield f'<g transform="translate({_MARGIN} {_HEAD})">'
    for box in picture.boxes:
        yield _box(picture, box, layout.places[box])
    for line in layout.lines:
        yield _edge(line)
    for node in picture.nodes:
        yield from _node(picture, node, layout.places[node.path])
    yield "</g></svg>"


def _legend() -> Iterator[str]:
    x = float(_MARGIN)
    for lifetime, text in LEGEND.items():
        fill, stroke = COLOURS[lifetime]
        yield f'<rect x="{x:.0f}" y="43" width="14" height="14" rx="3" fill="{fill}" stroke="{stroke}"/>'
        yield f'<text x="{x + 20:.0f}" y="54">{text}</text>'
        x += 34 + len(text) * 5.4
    yield f'<rect x="{x:.0f}" y="43" width="14" height="14" rx="3" fill="none" stroke="#6b7280" stroke-dasharray="3 2"/>'
    yield f'<text x="{x + 20:.0f}" y="54">nothing asks for it</text>'
    x += 128
    yield f'<path d="M{x:.0f} 50 h24" class="edge" marker-end="url(#arrow)"/>'
    yield f'<text x="{x + 30:.0f}" y="54">is made with</text>'
    yield f'<text x="{x + 112:.0f}" y="54" class="asks">← flow, task: asks for it</text>'


def _box(picture: Picture, box: str, place: Rectangle) -> str:
    name, asked = picture.name_in_box(box), asking(picture, box)
    if (len(name) * NAME_PIXELS + len(asked) * DETAIL_PIXELS) > place.width - 24:
        asked = ""  # the title says it
    return (
        f'<g><title>{escape(_title(picture, box))}</title><rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="8" '
        f'class="box"/><text x="{place.x + 10:.1f}" y="{place.y + 15:.1f}" class="name">{escape(name)} '
        f'<tspan class="asks">{escape(asked)}</tspan></text></g>'
    )


def _title(picture: Picture, path: str) -> str:
    """All that is known of a provider or a box, as the mouse shows it."""
    users = ", ".join(f"{user.kind} {user.name}" for user in picture.asked_by(path))
    return f"{path}\nasked for by {users}" if users else path


def _edge(line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    ends = f'data-from="{escape(line.source)}" data-to="{escape(line.target)}"'
    return f'<polyline points="{points}" class="edge" marker-end="url(#arrow)" {ends}/>'


def _node(picture: Picture, node: DescribedNode, place: Rectangle) -> Iterator[str]:
    fill, stroke = COLOURS[node.lifetime]
    dashes = ' stroke-dasharray="4 3"' if node.path in picture.unused else ""
    marks = "".join(f' <tspan class="mark {mark}">{mark}</tspan>' for mark in picture.marks(node))
    yield f'<g data-node="{escape(node.path)}"><title>{escape(_title(picture, node.path))}</title>'
    yield f'<rect {_at(place)} rx="5" fill="{fill}" stroke="{stroke}"{dashes}/>'
    lines = (
        ("name", escape(shortened(picture.name_in_box(node.path)))),
        ("detail", f"{escape(node.kind)}{marks}"),
        ("asks", escape(asking(picture, node.path))),
    )
    middle = place.x + place.width / 2
    for number, (kind, text) in enumerate(lines):
        if text:
            y = place.y + 15 + 13 * number
            yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle" class="{kind}">{text}</text>'
    yield "</g>"


def _at(place: Rectangle) -> str:
    return f'x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}"'
