"""A real PostgreSQL as the witness: what a terminated run held there is rolled back and gone before its process is."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGTERM

import psycopg
import pytest
from sqlalchemy import URL

from tests.processes.running import Programs, connections, conninfo, eventually


@pytest.fixture
def database(postgres_url: URL) -> Iterator[psycopg.Connection]:
    """Where runs book, nothing booked yet."""
    with psycopg.connect(conninfo(postgres_url), autocommit=True) as connection:
        connection.execute("CREATE TABLE booked (number int)")
        yield connection
        connection.execute("DROP TABLE booked")


@pytest.mark.parametrize("which", ["books", "books_on_the_loop"])
def test_a_terminated_run_has_rolled_back_and_let_go_of_its_connections_before_it_ends(
    programs: Programs, postgres_url: URL, database: psycopg.Connection, which: str
) -> None:
    run = programs.start("connections", which, DATABASE_URL=conninfo(postgres_url), APPLICATION_NAME=which)
    run.reaches("body")
    assert connections(database, which) == 2, "the run's and the task's"
    run.send(SIGTERM)

    run.reaches("closing gate")  # the process is still there
    eventually(lambda: connections(database, which) == 0, "the database has no connection of the run")
    assert database.execute("SELECT count(*) FROM booked").fetchone() == (0,)
    run.tell("close gate")
    assert run.ends() != 0
