"""How long an opening takes by itself: time in which it waits for another one's turn does not count towards its limit."""

from __future__ import annotations


class Clock:
    """Measures in seconds of whoever reads the time for it, and stands still while it is paused, by however many.

    Who pauses it runs in the thread that it measures.
    """

    __slots__ = ("_away", "_paused_at", "_pauses", "_started")

    def start(self, now: float) -> None:
        """Measure from now on, whatever was before."""
        self._pauses = 0
        self._paused_at: float | None = None
        self._away = 0.0
        self._started = now

    def seconds(self, now: float) -> float:
        """How long it has gone since it was started."""
        return (now if self._paused_at is None else self._paused_at) - self._started - self._away

    def pause(self, now: float) -> None:
        """Stand still until it has been resumed as often as paused."""
        self._pauses += 1
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Go on, unless somebody else still waits."""
        self._pauses -= 1
        if not self._pauses and self._paused_at is not None:
            self._away += now - self._paused_at
            self._paused_at = None
