"""A journal in the warehouse: what the patterns write, so that one can see what they did and what was rolled back."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, insert, select

from containers.services.schema import journal


class Journal:
    """Entries by topic. Every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, topic: str, entry: str) -> None:
        """Adds an entry."""
        with self._engine.begin() as connection:
            write_entry(connection, topic, entry)

    def entries(self, topic: str) -> list[str]:
        """What was written on a topic, the oldest first."""
        query = select(journal.c.entry).where(journal.c.topic == topic).order_by(journal.c.id)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())


def write_entry(connection: Connection, topic: str, entry: str) -> None:
    """Adds an entry within the caller's transaction."""
    connection.execute(insert(journal).values(written_at=datetime.now(UTC), topic=topic, entry=entry))
