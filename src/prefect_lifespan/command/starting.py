"""`init`: a small project that works, to go on from."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.command.output import console

_SUFFIX = ".template"  # so that tools which look for projects in ours do not find one here


def start(folder: Path) -> None:
    """Write the project to a folder, which may be there, and hold anything but the files of it.

    Raises:
        CommandError: one of the files is there already, or cannot be written.
    """
    texts = {Path(name): text for name, text in _project(_name_of(folder))}
    there = [str(name) for name in texts if (folder / name).exists()]
    if there:
        raise CommandError(
            f"{folder} has {', '.join(there)} already, and nothing is overwritten",
            "name a new folder: prefect-lifespan init my-flows",
        )
    try:
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"{error.filename} cannot be written: {error.strerror}", "name another folder") from error
    screen = console()
    screen.print(f"Wrote {len(texts)} files to {folder}. Next:", soft_wrap=True)
    screen.print(
        f"  cd {folder}\n  make run     # the flow, on Prefect's own API\n  make test    # its tests", soft_wrap=True
    )


def _name_of(folder: Path) -> str:
    """A name that a distribution may have."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name or "my-flows"


def _project(name: str) -> list[tuple[str, str]]:
    root = files("prefect_lifespan.command") / "project"
    return [(path, text.replace("{{name}}", name)) for path, text in _texts(root, "")]


def _texts(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            found += _texts(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((prefix + entry.name.removesuffix(_SUFFIX), entry.read_text("utf-8")))
    return found
