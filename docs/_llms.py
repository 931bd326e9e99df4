"""`llms.txt` beside the built site: its pages in their order, each with its first sentence, for programs that read.

`llms-full.txt` is the pages themselves, one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import toctree
from sphinx.application import Sphinx

_SENTENCE = re.compile(r"(.+?\.)(?:\s|$)", re.DOTALL)


def pages(app: Sphinx) -> Iterator[tuple[str, str, str]]:
    """Each page as its parts of the table of contents name it: the part, the name, the title."""
    environment = app.env
    for tree in environment.get_doctree("index").findall(toctree):
        for _, name in tree["entries"]:
            yield tree.get("caption") or "Start", name, environment.titles[name].astext()
            for below in environment.toctree_includes.get(name, []):
                yield tree.get("caption") or "Start", below, environment.titles[below].astext()


def first_sentence(document: nodes.document) -> str:
    """What a page says first, below its title."""
    for paragraph in document.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        found = _SENTENCE.match(text)
        return found.group(1) if found else text
    return ""


def write(app: Sphinx, error: Exception | None) -> None:
    """Write both files when the site stands."""
    if error is not None or app.builder.format != "html":
        return
    listed, whole, part = [f"# {app.config.project}\n", f"> {first_sentence(app.env.get_doctree('index'))}"], [], ""
    for caption, name, title in pages(app):
        if caption != part:
            part = caption
            listed.append(f"\n## {part}\n")
        listed.append(f"- [{title}]({name}.html): {first_sentence(app.env.get_doctree(name))}")
        whole.append(Path(app.env.doc2path(name)).read_text("utf-8").strip())
    folder = Path(app.outdir)
    (folder / "llms.txt").write_text("\n".join(listed) + "\n", "utf-8")
    (folder / "llms-full.txt").write_text("\n\n".join(whole) + "\n", "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """As Sphinx calls an extension."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
