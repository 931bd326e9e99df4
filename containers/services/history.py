"""The history of runs in the warehouse: idempotent upserts, the watermark, and reading it all back.

One SQL path for SQLite and PostgreSQL: both speak ON CONFLICT, and a row that is already as it should be is not
touched, so a second run of the same batch changes nothing and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from containers.services.records import FlowRunRecord, Outcome, Stored, TaskRunRecord
from containers.services.schema import flow_runs, task_runs, watermarks

READING = "flow_runs"
ROWS_PER_STATEMENT = 500

_INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class HistoryStore:
    """Keeps finished runs. Every method is one transaction; any thread may call any of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def store(self, batch: Sequence[FlowRunRecord], tasks: Iterable[TaskRunRecord]) -> Stored:
        """Writes a batch of flow runs with their task runs: all of them or none."""
        tasks = list(tasks)
        with self._engine.begin() as connection:
            changed = _upsert(connection, flow_runs, (asdict(run) for run in batch))
            changed += _upsert(connection, task_runs, (asdict(run) for run in tasks))
        return Stored(len(batch), len(tasks), changed)

    def watermark(self) -> datetime | None:
        """Up to when the API has been read completely; None before the first time."""
        query = select(watermarks.c.read_until).where(watermarks.c.name == READING)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def advance(self, read_until: datetime) -> None:
        """Moves the watermark forward, never back: a slower run that ends later does not undo a faster one."""
        statement = _INSERTS[self._engine.dialect.name](watermarks).values(name=READING, read_until=read_until)
        statement = statement.on_conflict_do_update(
            index_elements=[watermarks.c.name],
            set_={"read_until": statement.excluded.read_until},
            where=watermarks.c.read_until < statement.excluded.read_until,
        )
        with self._engine.begin() as connection:
            connection.execute(statement)

    def flow_runs(self) -> list[FlowRunRecord]:
        """Every stored flow run, the oldest end first."""
        query = select(*_columns(flow_runs, FlowRunRecord)).order_by(flow_runs.c.ended_at, flow_runs.c.id)
        with self._engine.connect() as connection:
            return [FlowRunRecord(**_typed(row)) for row in connection.execute(query).mappings()]

    def task_runs(self) -> list[TaskRunRecord]:
        """Every stored task run, the oldest end first."""
        query = select(*_columns(task_runs, TaskRunRecord)).order_by(task_runs.c.ended_at, task_runs.c.id)
        with self._engine.connect() as connection:
            return [TaskRunRecord(**_typed(row)) for row in connection.execute(query).mappings()]

    def counts(self) -> tuple[int, int]:
        """How many flow runs and task runs are stored."""
        query = select(
            select(func.count()).select_from(flow_runs).scalar_subquery(),
            select(func.count()).select_from(task_runs).scalar_subquery(),
        )
        with self._engine.connect() as connection:
            flows, tasks = connection.execute(query).one()
            return flows, tasks


def _upsert(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    """Inserts rows or brings them up to date, and counts those that this changed."""
    # By id: one statement may not touch a row twice, and one order for all keeps concurrent writers from deadlock.
    unique = {row["id"]: row for row in rows}
    ordered = iter([unique[key] for key in sorted(unique)])
    changed = 0
    while chunk := list(islice(ordered, ROWS_PER_STATEMENT)):
        statement = _INSERTS[connection.dialect.name](table).values(chunk)
        values = [column for column in table.columns if not column.primary_key]
        statement = statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={column.name: statement.excluded[column.name] for column in values},
            where=or_(*(column.is_distinct_from(statement.excluded[column.name]) for column in values)),
        )
        # psycopg counts too, but SQLAlchemy drops the count of an INSERT unless it is asked to keep it.
        changed += connection.execute(statement.execution_options(preserve_rowcount=True)).rowcount
    return changed


def _columns(table: Table, record: type[FlowRunRecord | TaskRunRecord]) -> list[Any]:
    return [table.c[field.name] for field in fields(record)]


def _typed(row: Any) -> dict[str, Any]:
    return {**row, "outcome": Outcome(row["outcome"])}
