"""The course of one probing: which resource comes next, what is skipped and why, and what is known of each so far.

Decisions only; those who open, check and close differ in who awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal

from prefect_lifespan.engine import CloseReport, Engine, Event, Slot
from prefect_lifespan.engine.events import declared_path, opening_of
from prefect_lifespan.engine.notes import notes_of
from prefect_lifespan.errors import AsyncResourceError, ResourceTimeoutError
from prefect_lifespan.graph import Node
from prefect_lifespan.managers import manager
from prefect_lifespan.masking import summary_of
from prefect_lifespan.probing.report import ProbedResource, Status

Doing = Literal["waiting", "opening", "checking", "open", "closing", "done"]
WHERE = "the probe"
# For what an interruption finds under way in a thread, to come to its end; then it is left behind.
INTERRUPTED_SECONDS = 3.0


@dataclass
class Row:
    """One resource as far as it is known; `doing` says what is being done with it now."""

    path: str
    doing: Doing = "waiting"
    status: Status = "ok"
    opened_seconds: float | None = None
    health_seconds: float | None = None
    closed_seconds: float | None = None
    errors: list[str] = field(default_factory=list[str])
    is_left_behind: bool = False  # an interruption found it opening, and it did not come to its end

    def failed(self, why: str) -> None:
        """It is not well; there may be several reasons."""
        self.status, self.is_left_behind = "failed", False
        self.errors.append(why)

    def skipped(self, why: str) -> None:
        """It is left alone."""
        self.status, self.doing = "skipped", "done"
        self.errors.append(why)

    @property
    def result(self) -> ProbedResource:
        """The same as data."""
        return ProbedResource(
            self.path,
            self.status,
            self.opened_seconds,
            self.health_seconds,
            self.closed_seconds,
            "; ".join(self.errors) or None,
        )


Progress = Callable[[Row], object]


class NeedsEventLoop(Exception):
    """A resource turned out to be asynchronous that did not look it."""


class Course:
    """The rows of the resources that were asked for, and what becomes of each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rows: dict[Slot, Row] = {}
        self._broken_settings: dict[int, Node] = {}

    def set_out(self, engine: Engine, wanted: Iterable[Node], left_out: Container[int], *, named: bool) -> None:
        """Begin with the resources of an engine; where they were `named`, also with those that nothing in force needs."""
        self._engine = engine
        self._left_out = left_out
        graph = engine.graph
        self._in_use = {node.key for node in (graph.resources if named else graph.eager)}
        self._rows = {engine.slots[node.key]: Row(declared_path(node.path)) for node in wanted}
        for row in self._rows.values():
            self._progress(row)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the order of opening."""
        return tuple(self._rows.values())

    def to_open(self) -> Iterator[Slot]:
        """The slots to open, one after another, as what came of those before allows it."""
        for slot, row in self._rows.items():
            why = self._why_skipped(slot)
            if why is None:
                yield slot
            else:
                row.skipped(why)
                self._progress(row)

    @manager
    def opening(self, slot: Slot) -> Generator[None]:
        """Around the opening of one; what its initialiser raises is noted, and goes no further."""
        row = self._do(slot, "opening")
        try:
            with _under_way(slot):
                yield
        except AsyncResourceError as error:
            if slot.asynchronous and not slot.node.is_async:  # as was found out just now
                raise NeedsEventLoop from error
            row.failed(summary_of(error))
        except Exception as error:
            self._note_settings(slot, error)
            row.failed(summary_of(error))
        row.doing = "open" if row.status == "ok" else "done"
        self._progress(row)

    @manager
    def checking(self, slot: Slot) -> Generator[None]:
        """Around the health check of one that is open; what that raises is noted, and goes no further."""
        row, started = self._do(slot, "checking"), perf_counter()
        try:
            with _under_way(slot):
                yield
        except Exception as error:
            row.failed(f"its health check raised {summary_of(error)}")
        else:
            row.health_seconds = perf_counter() - started
        row.doing = "open"
        self._progress(row)

    def is_open(self, slot: Slot) -> bool:
        """Whether it has opened well."""
        return self._rows[slot].doing == "open"

    def begin_close(self) -> None:
        """Tell that what is open closes now."""
        for slot, row in self._rows.items():
            if row.doing in ("open", "opening", "checking"):
                self._do(slot, "closing")

    def closed(self, report: CloseReport) -> None:
        """Everything has closed; a signal that arrived meanwhile goes on."""
        for row in self._rows.values():
            row.doing = "done"
            if row.status == "ok" and row.opened_seconds is None:
                row.skipped(f"interrupted {'while it opened' if row.is_left_behind else 'before it was open'}")
        if report.interruption is not None:
            raise report.interruption

    def heard(self, event: Event) -> None:
        """What the engine tells of an opening or closing, in whatever thread that is."""
        row = next((row for slot, row in self._rows.items() if opening_of(slot.number) == event.opening), None)
        if row is None:
            return
        match event.kind:
            case "opened":
                row.opened_seconds = event.seconds
            case "closed":
                row.closed_seconds = event.seconds
                row.doing = "done"
            case "close-failed":
                row.failed(f"closing it raised {event.error}")
                row.doing = "done"
            case "failed":
                row.failed(f"it failed while it was open: {event.error}")
            case "open-failed":  # `opening` hears of it too, unless that was interrupted
                row.is_left_behind = event.error_type == ResourceTimeoutError.__name__
                return
            case _:
                return
        self._progress(row)

    def _do(self, slot: Slot, doing: Doing) -> Row:
        row = self._rows[slot]
        row.doing = doing
        self._progress(row)
        return row

    def _why_skipped(self, slot: Slot) -> str | None:
        key, graph = slot.node.key, self._engine.graph
        if key in self._left_out:
            return "left out, as asked for"
        if key not in self._in_use:
            return "nothing that is in force needs it"
        broken = next((n for n in graph.settings_of([key]) if n.key in self._broken_settings), None)
        if broken is not None:
            return f"needs {broken.path}, settings that could not be made"
        for needed in self._engine.needs(slot):
            row = self._rows.get(needed)
            if row is not None and row.status != "ok":
                return f"needs {row.path}, which {'has failed' if row.status == 'failed' else 'was skipped'}"
        return None

    def _note_settings(self, slot: Slot, error: Exception) -> None:
        """Settings that could not be made fail the first that needs them; they are not asked for again."""
        graph, notes = self._engine.graph, notes_of(error)
        for node in graph.settings_of([slot.node.key]):
            if f"while making the settings {graph.container}.{node.path}" in notes:
                self._broken_settings[node.key] = node


@manager
def _under_way(slot: Slot) -> Generator[None]:
    """Around what is done with a slot: whoever interrupts that does not wait until the limit of closing is over."""
    own = slot.policy
    limit = own.close_timeout_seconds
    slot.policy = replace(own, close_timeout_seconds=min(INTERRUPTED_SECONDS, limit or INTERRUPTED_SECONDS))
    try:
        yield
    except Exception:
        slot.policy = own
        raise
    slot.policy = own
