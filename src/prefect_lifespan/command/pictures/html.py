"""A container as one HTML file: the SVG, and a little script that shows what belongs to the provider under the mouse."""

from __future__ import annotations

from html import escape

from prefect_lifespan.command.pictures.picture import Picture
from prefect_lifespan.command.pictures.svg import svg_of

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; background: #ffffff; overflow: auto; }}
svg {{ display: block; }}
[data-node] {{ cursor: pointer; }}
svg.chosen [data-node]:not(.near), svg.chosen .edge:not(.near) {{ opacity: 0.15; }}
svg.chosen .edge.near {{ stroke: #111827; stroke-width: 1.8; }}
</style>
</head>
<body>
{svg}<script>
const svg = document.querySelector("svg");
const nodes = new Map([...svg.querySelectorAll("[data-node]")].map((node) => [node.dataset.node, node]));
const edges = [...svg.querySelectorAll("[data-from]")];
const far = (from, to, start) => {{
  const seen = new Set([start]), waiting = [start];
  while (waiting.length) {{
    const name = waiting.pop();
    for (const edge of edges) {{
      if (edge.dataset[from] === name && !seen.has(edge.dataset[to])) {{
        seen.add(edge.dataset[to]);
        waiting.push(edge.dataset[to]);
      }}
    }}
  }}
  return seen;
}};
const choose = (name) => {{
  const needs = far("from", "to", name), users = far("to", "from", name);
  nodes.forEach((node, each) => node.classList.toggle("near", needs.has(each) || users.has(each)));
  for (const edge of edges) {{
    const {{ from, to }} = edge.dataset;
    edge.classList.toggle("near", (needs.has(from) && needs.has(to)) || (users.has(from) && users.has(to)));
  }}
  svg.classList.add("chosen");
}};
nodes.forEach((node, name) => {{
  node.addEventListener("mouseenter", () => choose(name));
  node.addEventListener("mouseleave", () => svg.classList.remove("chosen"));
}});
</script>
</body>
</html>
"""


def html_of(picture: Picture) -> str:
    """The text of the file."""
    return _PAGE.format(title=escape(picture.description.container), svg=svg_of(picture))
