"""The README as a package index shows it, which knows no files beside it: its links lead into the repository.

Done where `[project.urls]` names the `Source`; until then the README goes as it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?!https?:|#)([^)\s]+)\)")


def linked(readme: str, source: str, version: str) -> str:
    """The text with absolute links: to the files of the release, pictures as they are."""

    def absolute(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        return f"{picture}{text}({source.rstrip('/')}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return _LINK.sub(absolute, readme)


class ReadmeHook(MetadataHookInterface):
    """What the build asks for the README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add it to the metadata."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        source = metadata.get("urls", {}).get("Source")
        if source is not None:
            text = linked(text, source, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
