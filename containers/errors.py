"""What stops the application for reasons outside it, told as: what, where, what to do. Never with a secret in it."""

from __future__ import annotations

import re

_PASSWORDS = (
    # scheme://user:password@host, up to the last @: a password that should have been percent-encoded may not have been.
    (re.compile(r"(\w[\w+.-]*://[^\s:/@]*):[^\s\"'<>]+@"), r"\1:***@"),
    (re.compile(r"\b(password|passwd|pwd|api_key|token)=[^\s&;,]+", re.IGNORECASE), r"\1=***"),
)


class UnavailableError(RuntimeError):
    """Something the application stands on cannot be reached; nothing has been written."""


class WarehouseUnavailableError(UnavailableError):
    """The warehouse's database does not answer, or refuses."""


class OrchestratorUnavailableError(UnavailableError):
    """The Prefect API does not answer, or refuses."""


class ReportFolderError(UnavailableError):
    """The folder for reports cannot be written to."""


def redact(text: str) -> str:
    """A text that came from elsewhere, without the passwords of the URLs and connection strings in it."""
    for pattern, replacement in _PASSWORDS:
        text = pattern.sub(replacement, text)
    return text
