"""Where everything in a picture stands: what needs something on the left of it, edges around boxes.

Laid out by graphlay, which the extra `pictures` installs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.pictures.picture import Picture
from prefect_lifespan.describing import DescribedNode

NAME_PIXELS = 6.75  # of one character of a name: 11 pixels high, all of one width
DETAIL_PIXELS = 5.5  # of one of what stands below it, at 10 pixels
LONGEST = 24  # characters of a name that is shown whole
WIDEST = 1240.0  # pixels that a screen shows without scrolling
HEIGHT = 36.0
_PADDING = 14.0
_ASKED = 13.0  # pixels more of a provider that somebody asks for
# How far layers, and edges between them, stand apart: as far as the width allows.
_ROOM = ((36, 5), (28, 4), (22, 3), (16, 2), (12, 2))


@dataclass(frozen=True)
class Rectangle:
    """A place, from its upper left corner; in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Line:
    """An edge, by the ids of its ends, and the points that it goes through."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Layout:
    """Everything in its place, by the path of providers and boxes."""

    width: float
    height: float
    places: Mapping[str, Rectangle]
    lines: tuple[Line, ...]


def shortened(name: str) -> str:
    """A name as it is shown: of one that is too long, the end, which says more."""
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"


def asking(picture: Picture, path: str) -> str:
    """Who asks for a provider, as it is shown below it; empty for nobody."""
    names = [user.name for user in picture.asked_by(path)]
    shown = names[:2] if len(", ".join(names)) > LONGEST else names
    more = f" +{len(names) - len(shown)}" if len(shown) < len(names) else ""
    return f"← {', '.join(shown)}{more}" if names else ""


def layout_of(picture: Picture) -> Layout:
    """Place all that a picture holds.

    Raises:
        CommandError: graphlay is not installed.
    """
    try:
        import graphlay  # noqa: PLC0415 - an extra, which only these pictures need
    except ImportError as error:
        raise CommandError(
            "pictures as svg and html need the package graphlay",
            'pip install "prefect-lifespan[pictures]", or take -f mermaid or -f dot',
        ) from error
    graph = graphlay.Graph()
    boxes = {box: graph.node(box) for box in picture.boxes}
    for box, number in boxes.items():
        around = picture.box_of(box)
        if around is not None:
            graph.nodes[number]["parent"] = boxes[around]
    for node in picture.nodes:
        around = picture.box_of(node.path)
        inside: dict[str, Any] = {} if around is None else {"parent": boxes[around]}
        width, height = _size(picture, node)
        graph.node(node.path, width=width, height=height, **inside)
    edges = picture.edges
    for source, target in edges:
        graph.edge(source, target)
    placed: Any = None
    for layer_gap, lane_gap in _ROOM:
        placed = graphlay.layout(graph, options=_options(layer_gap, lane_gap))
        if placed.bounds["max"]["x"] - placed.bounds["min"]["x"] <= WIDEST:
            break
    return _moved(placed, graph.ids, edges)


def _options(layer_gap: int, lane_gap: int) -> Mapping[str, Any]:
    spacing: dict[str, float] = {
        "layer_gap": layer_gap,
        "bundle_lane_gap": lane_gap,
        "stub": min(10.0, layer_gap / 3),
        "node_gap": 10,
        "dummy_gap": 8,
        "isolated_gap": 10,
        "port_gap": 6,
        "port_stroke_clear": 4,
        "compound_padding": 10,
        "compound_header": 18,
    }
    return {"direction": "leftright", "spacing": spacing, "routing": {"style": "orthogonal", "lane_gap": lane_gap}}


def _size(picture: Picture, node: DescribedNode) -> tuple[float, float]:
    detail, asked = " ".join([node.kind, *picture.marks(node)]), asking(picture, node.path)
    name = shortened(picture.name_in_box(node.path))
    width = max(len(name) * NAME_PIXELS, len(detail) * DETAIL_PIXELS, len(asked) * DETAIL_PIXELS)
    return width + _PADDING, HEIGHT + (_ASKED if asked else 0.0)


def _moved(placed: Any, ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """A layout with its upper left corner at zero."""
    low, high = placed.bounds["min"], placed.bounds["max"]
    places: dict[str, Rectangle] = {}
    for name, node in zip(ids, placed.nodes, strict=True):
        centre, size = node["center"], node["size"]
        places[name] = Rectangle(
            centre["x"] - size["width"] / 2 - low["x"],
            centre["y"] - size["height"] / 2 - low["y"],
            size["width"],
            size["height"],
        )
    lines = [
        Line(source, target, tuple((point["x"] - low["x"], point["y"] - low["y"]) for point in edge["points"]))
        for (source, target), edge in zip(edges, placed.edges, strict=True)
    ]
    return Layout(high["x"] - low["x"], high["y"] - low["y"], places, tuple(lines))
