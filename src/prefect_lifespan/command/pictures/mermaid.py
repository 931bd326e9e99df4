"""A container as a Mermaid flowchart, which GitHub and others draw where it stands in a page."""

from __future__ import annotations

from collections.abc import Iterator

from prefect_lifespan.command.pictures.picture import COLOURS, LEGEND, Picture
from prefect_lifespan.describing import DescribedNode


def mermaid_of(picture: Picture) -> str:
    """The text of the flowchart."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    ids = {node.path: f"n{number}" for number, node in enumerate(picture.nodes)}
    ids |= {box: f"b{number}" for number, box in enumerate(picture.boxes)}
    yield "---"
    yield f"title: {picture.description.container}"
    yield "---"
    yield "flowchart LR"
    yield from _in_box(picture, None, ids, "  ")
    for number, user in enumerate(picture.users):
        yield f'  u{number}(["{_escaped(user.name)}<br><i>{user.kind}</i>"]):::user'
        for path in user.asks:
            if path in ids:
                yield f"  u{number} -.-> {ids[path]}"
    for source, target in picture.edges:
        yield f"  {ids[source]} --> {ids[target]}"
    if unused := [ids[node.path] for node in picture.nodes if node.path in picture.unused]:
        yield f"  class {','.join(unused)} unused"
    yield "  subgraph legend [ ]"
    for lifetime, text in LEGEND.items():
        yield f'    l_{lifetime or "none"}["{text}"]:::{lifetime or "none"}'
    yield "  end"
    for lifetime, (fill, stroke) in COLOURS.items():
        yield f"  classDef {lifetime or 'none'} fill:{fill},stroke:{stroke},color:#111827"
    yield "  classDef user fill:#ffffff,stroke:#374151,color:#111827"
    yield "  classDef unused stroke-dasharray:4 3,opacity:0.7"


def _in_box(picture: Picture, box: str | None, ids: dict[str, str], indent: str) -> Iterator[str]:
    for node in picture.nodes:
        if picture.box_of(node.path) == box:
            yield f'{indent}{ids[node.path]}["{_label(picture, node)}"]:::{node.lifetime or "none"}'
    for inner in picture.boxes:
        if picture.box_of(inner) == box:
            yield f'{indent}subgraph {ids[inner]} ["{_escaped(picture.name_in_box(inner))}"]'
            yield from _in_box(picture, inner, ids, f"{indent}  ")
            yield f"{indent}end"


def _label(picture: Picture, node: DescribedNode) -> str:
    kind = ", ".join([node.kind, *picture.marks(node)])
    return f"{_escaped(picture.name_in_box(node.path))}<br><i>{kind}</i>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;")
