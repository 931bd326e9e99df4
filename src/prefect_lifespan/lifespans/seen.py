"""What is seen of one lifespan: observers hear of it, and at its end come its span, a line of totals, and its report.

None of it fails a run: an observer that raises is dropped, and what cannot be said at the end is a line in the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from prefect_lifespan.engine import CloseReport, Observer, Observers, library_logger
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.engine.hosting import uninterrupted
from prefect_lifespan.lifespans.asked import Settings
from prefect_lifespan.lifespans.prefect_run import flow_context, run_name
from prefect_lifespan.masking import told
from prefect_lifespan.observability.configured import configured
from prefect_lifespan.observability.picture import Picture
from prefect_lifespan.observability.report import save
from prefect_lifespan.observability.spans import LifespanSpan, is_traced
from prefect_lifespan.observability.totals import Totals
from prefect_lifespan.scope import InForce


@dataclass
class Seen:
    """Who sees one lifespan; one that joined another sees that meanwhile. Made without anything, nobody sees it."""

    container: str = ""
    told: Observers = field(default_factory=Observers)
    logger: Logger = library_logger
    totals: Totals | None = None
    picture: Picture | None = None
    span: LifespanSpan | None = None
    seconds_waited: float = 0.0
    _observers: tuple[Observer, ...] = ()
    _waiting_since: float | None = None
    _ended: bool = False

    @classmethod
    def of(cls, lifespan: InForce, settings: Settings, *, joined: bool) -> Seen:
        """Let everybody hear of a lifespan who is to: those that were asked for, and what the settings say."""
        engine = lifespan.engine
        container, whose = engine.ledger.container, engine.ledger.whose
        seen = cls(container, engine.options.observers, lifespan.logger)
        if flow_context() is not None and whose is not None:
            wanted = configured()
            if wanted.totals and not joined:
                seen.totals = Totals()
            if settings.report or (wanted.report and not joined):
                seen.picture = Picture(container, run_name(""), whose.flow_run)
        if not joined and whose is not None and is_traced():
            seen.span = LifespanSpan(container, whose.span)
        heard = (*settings.observers, *(each for each in (seen.totals, seen.picture) if each is not None))
        for observer in heard:
            seen.told.add(observer)
        seen._observers = heard
        return seen

    def hear(self, elsewhere: CloseReport) -> CloseReport:
        """Tell observers what has happened in other processes, as their report of closing brings it."""
        events, elsewhere.events = elsewhere.events, []
        for event in sorted(events, key=lambda event: event.at):
            self.told.tell(event)
        return elsewhere

    def waiting(self) -> None:
        """The body has ended, and its tasks are waited for."""
        self._waiting_since = self._waiting_since or monotonic()

    def waited(self) -> None:
        """They are done."""
        if self._waiting_since is not None:
            self.seconds_waited += monotonic() - self._waiting_since
            self._waiting_since = None

    def end(self, report: CloseReport) -> None:
        """All has closed: say what is to be said, and let observers hear no more."""
        if self._end(report) and self.picture is not None:
            self._save(self.picture)

    async def aend(self, report: CloseReport) -> None:
        """The same on a running event loop."""
        if self._end(report) and self.picture is not None:
            report.interrupted(await uninterrupted(asyncio.to_thread(self._save, self.picture)))

    def _end(self, report: CloseReport) -> bool:
        """Once; whether it was this time."""
        first, self._ended = not self._ended, True
        if first:
            for observer in self._observers:
                self.told.remove(observer)
            try:
                self._say(report)
            except Exception as error:
                self._failed(error)
        return first

    def _say(self, report: CloseReport) -> None:
        outcome = report.interruption or report.told or next(iter(report.raising), None)
        if self.span is not None:
            self.span.end(outcome)
        if self.totals is not None and (line := self.totals.line(self.container, self.seconds_waited)):
            self.logger.info("%s", line)
        if self.picture is not None:
            self.picture.ended("" if outcome is None else told(outcome), self.seconds_waited)

    def _save(self, picture: Picture) -> None:
        try:
            save(picture, configured().report_timeout_seconds)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        with suppress(Exception):
            self.logger.warning("What is seen of %s is not complete: %s", self.container, told(error))
