"""What the observers in a lifespan's own process are to hear of a lifespan in this one, kept until its end.

Nobody waits for it before. Nothing is kept where nobody over there hears of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from prefect_lifespan.engine import CloseReport, Engine, Event, Observers
from prefect_lifespan.engine.events import HearsUses
from prefect_lifespan.observability.process_events import Hearing, process_events
from prefect_lifespan.observability.uses import Uses

# How many events of a process its driver's observers hear at most: the last ones.
MOST_EVENTS = 10_000


class _Kept:
    """An observer that keeps events."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)

    def __call__(self, event: Event) -> None:
        self.events.append(replace(event, error_traceback=""))  # each may be long, and the log has it


class _KeptWithUses(_Kept, HearsUses):
    """The same for a report, which shows who has used what as well."""

    def __init__(self) -> None:
        super().__init__()
        self.uses = Uses()
        self.used = self.uses.note


class KeptEvents:
    """What is kept of one lifespan; `observers` are those that its engine here tells."""

    def __init__(self, *, observed: bool, uses: bool) -> None:
        self._kept = _KeptWithUses() if uses else _Kept()
        self._hearing: Hearing | None = None
        self.observers: Observers = Observers([self._kept] if observed else ())

    def begin(self, engine: Engine) -> None:
        """The engine has been made: what the process shares, and the run opens, is heard of with its own."""
        if self.observers:
            self._hearing = process_events.add(engine)

    def into(self, report: CloseReport) -> None:
        """It has ended: let a report of closing bring along what was kept."""
        process_events.remove(self._hearing)
        report.events += self._kept.events
        if isinstance(self._kept, _KeptWithUses):
            report.uses += self._kept.uses.counted()
