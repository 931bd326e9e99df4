"""Where a command's output goes, and how wide it is there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.importing import shown

_WIDTH = 140  # characters, where what reads it is no terminal and does not say


def console(*, errors: bool = False) -> Console:
    """What prints for people: in colours and as wide as the terminal, where it is one."""
    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False)


def tell(message: str, cure: str = "", *, kind: str = "error") -> None:
    """One line that says what is wrong, and one that says what to do, however long they are."""
    lines = Text(f"{kind}: ", "bold red").append(" ".join(message.split()), "default not bold")
    if cure:
        lines.append(f"\n  Cure: {' '.join(cure.split())}", "default not bold")
    screen = console(errors=True)
    screen.print(lines, soft_wrap=not screen.is_terminal)


def write_json(data: Any) -> None:
    """Plain JSON, whatever reads it."""
    sys.stdout.write(f"{json.dumps(data, indent=2)}\n")


def write(text: str, file: Path | None) -> None:
    """A text to a file, or to where output goes.

    Raises:
        CommandError: the file cannot be written.
    """
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}", "name another file with -o") from error
    console(errors=True).print(f"Wrote {shown(file)}", soft_wrap=True)
