"""What is seen of one lifespan: observers hear of it, and at its end come its span, a line of totals, and its report.

None of it fails a run: an observer that raises is dropped, and what cannot be said at the end is a line in the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from time import time

from prefect_lifespan.engine import CloseReport, Observer, Observers, library_logger
from prefect_lifespan.engine.awaiting import uninterrupted
from prefect_lifespan.engine.events import Logger, Use
from prefect_lifespan.in_force import InForce
from prefect_lifespan.lifespans.asked import Settings
from prefect_lifespan.lifespans.prefect_run import flow_context, is_suspension, is_termination, run_name, span_here
from prefect_lifespan.masking import summary_of
from prefect_lifespan.observability.configured import configured
from prefect_lifespan.observability.picture import Picture
from prefect_lifespan.observability.process_events import Hearing, process_events
from prefect_lifespan.observability.report import save
from prefect_lifespan.observability.spans import LifespanSpan, is_traced
from prefect_lifespan.observability.totals import Totals


@dataclass
class Seen:
    """Who sees one lifespan; one that joined another sees that meanwhile. Made without anything, nobody sees it."""

    container: str = ""
    told: Observers = field(default_factory=Observers)
    logger: Logger = library_logger
    totals: Totals | None = None
    picture: Picture | None = None
    span: LifespanSpan | None = None
    _observers: tuple[Observer, ...] = ()
    _hearing: Hearing | None = None
    _waited: tuple[float, float] | None = None  # for tasks, from when to when, since the epoch
    _uses: list[Use] = field(default_factory=list[Use])  # in other processes
    _ended: bool = False

    @classmethod
    def of(cls, lifespan: InForce, settings: Settings, *, joined: bool) -> Seen:
        """Let everybody hear of a lifespan who is to: those that were asked for, and what the settings say."""
        engine = lifespan.engine
        container, run = engine.schedule.container, flow_context()
        seen = cls(container, engine.options.observers, lifespan.logger)
        if run is not None and run.flow_run is not None:
            wanted = configured()
            if wanted.totals and not joined:
                seen.totals = Totals()
            if settings.report or (wanted.report and not joined):
                seen.picture = Picture(container, run_name(""), str(run.flow_run.id))
        if not joined and is_traced():
            seen.span = LifespanSpan(container, span_here())
        heard = (*settings.observers, *(each for each in (seen.totals, seen.picture) if each is not None))
        for observer in heard:
            seen.told.add(observer)
        seen._observers = heard
        if seen.told:
            seen._hearing = process_events.add(engine)
        return seen

    def hear(self, elsewhere: CloseReport) -> CloseReport:
        """Tell observers what has happened in other processes, as their report of closing brings it."""
        events, elsewhere.events = elsewhere.events, []
        self._uses += elsewhere.uses
        elsewhere.uses = []
        for event in sorted(events, key=lambda event: event.at):
            self.told.tell(event)
        return elsewhere

    def waiting(self) -> None:
        """The body has ended, and its tasks are waited for."""
        if self._waited is None:
            self._waited = (now := time(), now)

    def waited(self) -> None:
        """They are done, or left behind."""
        if self._waited is not None:
            self._waited = (self._waited[0], time())

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
            process_events.remove(self._hearing)
            try:
                self._say(report)
            except Exception as error:
                self._failed(error)
        return first

    def _say(self, report: CloseReport) -> None:
        outcome = report.interruption or report.told or next(iter(report.raising), None)
        began, until = self._waited or (0.0, 0.0)
        if self.span is not None:
            self.span.end(None if is_suspension(outcome) else outcome)
        if self.totals is not None and (line := self.totals.line(self.container, until - began)):
            self.logger.info("%s", line)
        if self.picture is not None:
            self.picture.ended(_how(outcome), self._waited, self._uses)

    def _save(self, picture: Picture) -> None:
        try:
            save(picture, configured().report_timeout_seconds)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        with suppress(Exception):
            self.logger.warning("What is seen of %s is not complete: %s", self.container, summary_of(error))


def _how(outcome: BaseException | None) -> str:
    """How a lifespan ended, in words that follow the name of its run."""
    if outcome is None:
        return "ended well"
    if is_suspension(outcome):
        return "was suspended"
    if is_termination(outcome):
        return "was terminated"
    if isinstance(outcome, (asyncio.CancelledError, KeyboardInterrupt)):
        return f"was interrupted ({type(outcome).__qualname__})"
    return f"failed ({summary_of(outcome)})"
