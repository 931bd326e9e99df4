"""A container in the DOT language, for Graphviz and what reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prefect_lifespan.command.pictures.picture import COLOURS, LEGEND, Picture
from prefect_lifespan.describing import DescribedNode


def dot_of(picture: Picture) -> str:
    """The text of the graph."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield f"digraph {_quoted(picture.description.container)} {{"
    yield f'  rankdir=LR; compound=true; fontname="sans-serif"; label={_quoted(picture.description.container)}; labelloc=t;'
    yield '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11];'
    yield from _in_box(picture, None, "  ")
    for user in picture.users:
        name = _quoted(f"{user.kind} {user.name}")
        label = _quoted(user.name, user.kind)
        yield f'  {name} [label={label}, shape=oval, fillcolor="#ffffff", color="#374151"];'
        for path in user.asks:
            yield from _edge(picture, name, path, "style=dashed")
    for source, target in picture.edges:
        yield from _edge(picture, _quoted(source), target)
    yield '  subgraph "cluster legend" {'
    yield '    label="lifetimes"; style=dotted;'
    for lifetime, text in LEGEND.items():
        fill, stroke = COLOURS[lifetime]
        yield f'    {_quoted(f"legend {text}")} [label={_quoted(text)}, fillcolor="{fill}", color="{stroke}"];'
    yield "  }"
    yield "}"


def _edge(picture: Picture, source: str, target: str, *attributes: str) -> Iterator[str]:
    """An edge; Graphviz leads one to a box by one of the nodes in it, and cannot where that is empty."""
    end: str | None = target
    if target in picture.boxes:
        end = next((node.path for node in picture.nodes if node.path.startswith(f"{target}.")), None)
        attributes = (*attributes, f"lhead={_quoted(f'cluster {target}')}")
    if end is not None:
        told = f" [{', '.join(attributes)}]" if attributes else ""
        yield f"  {source} -> {_quoted(end)}{told};"


def _in_box(picture: Picture, box: str | None, indent: str) -> Iterator[str]:
    for node in picture.nodes:
        if picture.box_of(node.path) == box:
            yield f"{indent}{_quoted(node.path)} [{_attributes(picture, node)}];"
    for inner in picture.boxes:
        if picture.box_of(inner) == box:
            yield f"{indent}subgraph {_quoted(f'cluster {inner}')} {{"
            yield f"{indent}  label={_quoted(picture.name_in_box(inner))}; style=rounded;"
            yield from _in_box(picture, inner, f"{indent}  ")
            yield f"{indent}}}"


def _attributes(picture: Picture, node: DescribedNode) -> str:
    fill, stroke = COLOURS[node.lifetime]
    kind = ", ".join([node.kind, *picture.marks(node)])
    style = ', style="filled,rounded,dashed"' if node.path in picture.unused else ""
    label = _quoted(picture.name_in_box(node.path), kind)
    return f'label={label}, fillcolor="{fill}", color="{stroke}"{style}'


def _quoted(*lines: str) -> str:
    return json.dumps("\n".join(lines), ensure_ascii=False)
