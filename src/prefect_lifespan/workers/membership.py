"""A worker process's part in a lifespan of another process: whether somebody tells it of the end, and whom it answers."""

from __future__ import annotations

import threading

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.signal_safe import under
from prefect_lifespan.workers.process_end import Close, at_process_end
from prefect_lifespan.workers.references import LifespanReference
from prefect_lifespan.workers.remote_workers import HasEnded, Joined
from prefect_lifespan.workers.states import Notice


class Membership:
    """This process's part in a lifespan of another one, which it joins when it opens something, or passes it on.

    `attached` says whether that lifespan waits for a task here.
    """

    def __init__(self, reference: LifespanReference, at_end: Close, *, attached: bool, ended: bool) -> None:
        self.attached: bool = attached
        self.notice: Notice = Notice.TOO_LATE if ended else Notice.NOT_ASKED
        self._joined: Joined | None = None  # where it is promised
        self._reference = reference
        self._at_end = at_end
        self._lock = threading.Lock()

    @property
    def is_told(self) -> bool:
        """Whether somebody was to say when the lifespan ends."""
        return self.notice is Notice.PROMISED

    @property
    def is_unsure(self) -> bool:
        """Whether perhaps nobody will say: nobody was found, or one who may be gone without this process noticing."""
        joined = self._joined
        return joined is None or joined.is_lost is not None

    def is_lost(self) -> bool:
        """Whether nobody will say, as far as can be found out; that may take a while."""
        joined = self._joined
        return joined is None or (joined.is_lost is not None and joined.is_lost())

    def ask_for_notice(self) -> None:
        """Let this process be told when the lifespan ends, or close by itself when it ends itself; once."""
        under(self._lock, self._ask_once)
        if self.notice is not Notice.TOO_LATE:
            at_process_end(self._at_end)

    def _ask_once(self) -> None:
        if self.notice is Notice.NOT_ASKED:
            self.notice = self._asked()

    def _asked(self) -> Notice:
        try:
            link = self._reference.link
            self._joined = None if link is None else link.join(self._reference.id)
        except HasEnded:
            # A task that was delayed may well run after the lifespan that it was delayed from, and opens its own.
            return Notice.TOO_LATE if self.attached else Notice.NONE
        return Notice.NONE if self._joined is None else Notice.PROMISED

    def resign(self) -> None:
        """Be told no more: what is open here is closed otherwise."""
        joined = under(self._lock, self._resign)
        if joined is not None:
            joined.farewell(CloseReport("", None))

    def _resign(self) -> Joined | None:
        joined, self._joined = self._joined, None
        if self.notice is Notice.PROMISED:
            self.notice = Notice.NONE
        return joined

    def say_farewell(self, report: CloseReport) -> None:
        """Answer, where somebody waits for it, that what was open here has closed."""
        joined = self._joined
        if joined is not None:
            joined.farewell(report)
