"""Notes on exceptions, whatever their classes think of attributes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress


def add_note(error: BaseException, note: str) -> None:
    """Add a note once, also where one and the same exception object comes by again.

    Never raises: an exception that takes no notes goes on without.
    """
    with suppress(Exception):
        notes = notes_of(error)
        if note in notes:
            return
        try:
            BaseException.add_note(error, note)
        except Exception:  # a class that takes no attributes, as a frozen dataclass
            BaseException.__setattr__(error, "__notes__", [*notes, note])


def notes_of(error: BaseException) -> Sequence[str]:
    """The notes of an exception, whatever its class does for attributes that are missing."""
    try:
        return tuple(getattr(error, "__notes__", ()))
    except Exception:
        return ()
