"""`graph`: the picture of one container in the format that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.text import Text

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.located import target_of
from prefect_lifespan.command.output import console, write
from prefect_lifespan.command.pictures.picture import Picture, picture_of
from prefect_lifespan.command.program import Program
from prefect_lifespan.command.targets import find
from prefect_lifespan.graph.reader import ContainerClass

GraphFormat = Literal["tree", "mermaid", "dot", "svg", "html", "json"]


def draw(targets: Sequence[str], form: GraphFormat | None, file: Path | None) -> None:
    """Draw the container that targets name, to a file or to where output goes.

    Raises:
        CommandError: a target that does not exist; there is not one container; a picture that cannot be made or written.
    """
    picture = picture_for(targets)
    form = form or _form_of(file)
    if form != "tree":
        write(text_of(picture, form), file)
        return
    from prefect_lifespan.command.pictures.tree import tree_of  # noqa: PLC0415 - only what is asked for

    screen = console()
    if file is None:
        screen.print(tree_of(picture))
    else:
        with screen.capture() as captured:
            screen.print(tree_of(picture))
        write(Text.from_ansi(captured.get()).plain + "\n", file)


_FORMS: Mapping[str, GraphFormat] = {
    ".mmd": "mermaid",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".html": "html",
    ".json": "json",
}


def _form_of(file: Path | None) -> GraphFormat:
    return "tree" if file is None else _FORMS.get(file.suffix, "tree")


def picture_for(targets: Sequence[str]) -> Picture:
    """The picture of the one container that targets name, with the flows and tasks among them.

    Raises:
        CommandError: a target that does not exist; or there is not one container.
    """
    program = Program(find(targets))
    return picture_of(the_container(program, targets), program)


def the_container(program: Program, targets: Sequence[str]) -> ContainerClass:
    """The one container that targets name, or that their flows open.

    Raises:
        CommandError: there is none, or there are several.
    """
    found = list(program.found.named or program.containers)
    if not found:
        raise CommandError(f"{', '.join(targets)}: no container", "name one: module:Container")
    if len(found) > 1:
        names = ", ".join(target_of(container) for container in found)
        raise CommandError(f"{', '.join(targets)}: {len(found)} containers", f"name one of them: {names}")
    return found[0]


def text_of(picture: Picture, form: GraphFormat) -> str:
    """A picture as text in any format but the tree, which is drawn for the terminal."""
    from prefect_lifespan.command.pictures.dot import dot_of  # noqa: PLC0415 - only what is asked for
    from prefect_lifespan.command.pictures.html import html_of  # noqa: PLC0415
    from prefect_lifespan.command.pictures.mermaid import mermaid_of  # noqa: PLC0415
    from prefect_lifespan.command.pictures.svg import svg_of  # noqa: PLC0415

    drawers: Mapping[str, Callable[[Picture], str]] = {
        "mermaid": mermaid_of,
        "dot": dot_of,
        "svg": svg_of,
        "html": html_of,
        "json": lambda each: json.dumps(each.description.as_dict(), indent=2) + "\n",
    }
    return drawers[form](picture)
