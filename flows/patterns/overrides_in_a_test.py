"""Overrides in a test: the flow stays as it is, and its database is another one. Run it with pytest, or as it is.

By hand: `monkeypatch.setattr` for each module that has imported the connection, which tasks in other threads or
processes may see too late, too long, or not at all. The real resource is never opened here.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan, override


def open_production() -> Iterator[sqlite3.Connection]:
    raise AssertionError("a test has opened the production database")
    yield  # what makes this a generator


class Payroll(containers.DeclarativeContainer):
    database = providers.Resource(open_production)


@task
@inject
def raise_salaries(percent: int, database: sqlite3.Connection = Provide[Payroll.database]) -> None:
    database.execute("UPDATE salaries SET amount = amount * (100 + ?) / 100", (percent,))


@flow(name="pay-rise")
@lifespan(Payroll)
def pay_rise(percent: int) -> None:
    raise_salaries(percent)


def test_a_pay_rise_reaches_everybody() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        database.executescript("CREATE TABLE salaries (amount INTEGER); INSERT INTO salaries VALUES (1000), (2000);")

        with override(Payroll, database=database):  # used as it is, and left open: it is the test's
            pay_rise(10)

        assert database.execute("SELECT amount FROM salaries").fetchall() == [(1100,), (2200,)]


def demo() -> str:
    """Runs the test."""
    test_a_pay_rise_reaches_everybody()
    return "1 test passed, and the production database was never opened"


if __name__ == "__main__":
    print(demo())
