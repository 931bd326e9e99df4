"""The picture of a run as data: when each resource opened, was held and closed, and what it is drawn from afterwards."""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import HearsUses, Use, Whose
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.observability.uses import Uses
from prefect_lifespan.signal_safe import under

# Openings that a picture shows, each by itself: those that took longest. Those of tasks stand together, as a hundred of
# them say no more. And openings that are kept until the end, when it is known which took longest.
MOST_ROWS, _MOST_KEPT = 200, 10_000

_DATA, _LONGEST = "prefect-lifespan-", 500


@dataclass
class Row:
    """One resource in one process, or all that tasks have opened of it there; times are seconds since the start."""

    path: str
    pid: int
    lifetime: str
    tasks: dict[str, int] = field(default_factory=dict[str, int])  # how many runs of each have used it; "" is the flow
    openings: int = 0  # none where it was open before
    began: float = 0.0  # when the first one began to open
    opened: float | None = None  # when the first one had
    closing: float | None = None  # when the last one began to close
    closed: float | None = None
    opening_seconds: float = 0.0
    closing_seconds: float = 0.0
    retried: list[float] = field(default_factory=list[float])  # when attempts had failed that others followed
    errors: list[str] = field(default_factory=list[str])


@dataclass
class Drawn:
    """All that a picture is drawn from."""

    container: str
    run: str
    flow_run: str
    started: float  # since the epoch
    pid: int  # the flow's own process; others are worker processes
    seconds: float = 0.0
    ended: str = "has not ended"
    waiting: tuple[float, float] | None = None  # for tasks, after the body, from when to when
    rows: Sequence[Row] = ()
    left_out: int = 0  # openings that no row shows
    left_out_seconds: float = 0.0  # that they took

    def dumped(self) -> dict[str, str]:
        """The same as an artifact's metadata: of each value, Prefect's API keeps the first 500 characters."""
        text = b64encode(zlib.compress(json.dumps(asdict(self)).encode())).decode()
        parts = [text[begin : begin + _LONGEST] for begin in range(0, len(text), _LONGEST)]
        return {f"{_DATA}{number}": part for number, part in enumerate(parts)}

    @classmethod
    def loaded(cls, metadata: Mapping[str, str]) -> Drawn | None:
        """The same from an artifact's metadata; None where they hold nothing of it."""
        parts = {int(key.removeprefix(_DATA)): part for key, part in metadata.items() if key.startswith(_DATA)}
        if not parts:
            return None
        text = "".join(parts[number] for number in sorted(parts))
        values: dict[str, Any] = json.loads(zlib.decompress(b64decode(text)))
        values["rows"] = [Row(**row) for row in values["rows"]]
        values["waiting"] = values["waiting"] and tuple(values["waiting"])
        return cls(**values)


class Picture(HearsUses):
    """An observer that keeps what a picture of one lifespan is drawn from."""

    def __init__(self, container: str, run: str, flow_run: str) -> None:
        self.drawn: Drawn = Drawn(container, run, flow_run, time.time(), os.getpid())
        self._rows: dict[object, Row] = {}
        self._lock = threading.Lock()
        self._uses = Uses()
        self.used: Callable[[tuple[str, ...], Whose], None] = self._uses.note

    def __call__(self, event: Event) -> None:
        under(self._lock, self._hear, event)

    def ended(self, how: str, waiting: tuple[float, float] | None, elsewhere: Iterable[Use]) -> None:
        """The lifespan has ended. `waiting` is when tasks were waited for, since the epoch; `elsewhere` are other
        processes' uses.
        """
        under(self._lock, self._end, how, waiting, elsewhere)

    def _hear(self, event: Event) -> None:
        row = self._row(event)
        if row is not None:
            _note(row, event, event.at - self.drawn.started)

    def _end(self, how: str, waiting: tuple[float, float] | None, elsewhere: Iterable[Use]) -> None:
        drawn = self.drawn
        drawn.seconds, drawn.ended = time.time() - drawn.started, how
        if waiting is not None:
            drawn.waiting = (waiting[0] - drawn.started, waiting[1] - drawn.started)
        for use in [*self._uses.counted(), *elsewhere]:
            self._used(use)
        self._choose()

    def _choose(self) -> None:
        """Which rows are shown: the slowest opening first of all, as it is what people look for, then what failed."""
        drawn, rows = self.drawn, list(self._rows.values())
        slowest = max(rows, key=lambda row: row.opening_seconds, default=None)
        rows.sort(
            key=lambda row: (row is slowest, bool(row.errors), max(row.opening_seconds, row.closing_seconds)),
            reverse=True,
        )
        drawn.left_out += sum(row.openings for row in rows[MOST_ROWS:])
        drawn.left_out_seconds += sum(row.opening_seconds for row in rows[MOST_ROWS:])
        drawn.rows = sorted(rows[:MOST_ROWS], key=lambda row: row.began)

    def _used(self, use: Use) -> None:
        row = next((row for row in self._rows.values() if (row.path, row.pid) == (use.path, use.pid)), None)
        if row is None:
            if len(self._rows) >= _MOST_KEPT:
                return
            row = self._rows[use.path, use.pid] = Row(use.path, use.pid, "", opened=0.0)
        row.tasks[use.task] = row.tasks.get(use.task, 0) + use.runs

    def _row(self, event: Event) -> Row | None:
        of_tasks = event.lifetime is Lifetime.TASK
        key = (event.path, event.pid) if of_tasks else event.opening
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= _MOST_KEPT:
                if event.kind == "opened":
                    self.drawn.left_out += 1
                    self.drawn.left_out_seconds += event.seconds
                return None
            lifetime = "" if event.lifetime is None else event.lifetime.name.lower()
            began = event.at - event.seconds - self.drawn.started
            row = self._rows[key] = Row(event.path, event.pid, lifetime, began=began)
        return row


def _note(row: Row, event: Event, at: float) -> None:
    if event.error_type:
        row.errors.append(f"{event.kind}: {event.error}")
        del row.errors[10:]
    if event.kind == "opened":
        row.openings += 1
        row.opening_seconds += event.seconds
        row.opened = at if row.opened is None else min(row.opened, at)
    elif event.kind == "open-failed":
        row.opening_seconds += event.seconds
    elif event.kind == "open-retried":
        row.retried.append(at)
    elif event.kind in ("closed", "close-failed"):
        row.closing_seconds += event.seconds
        row.closing = max(row.closing or 0.0, at - event.seconds)
        row.closed = max(row.closed or 0.0, at)
