"""Setup and cleanup around the work: a database that is opened for the run and closed after it, whatever happened.

By hand: `connect()` at the top of the flow, `try/finally` around the rest, the connection as a parameter of every
task (and `cache_policy=NO_CACHE`, because it cannot be hashed). Here the tasks say what they need.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def open_database(path: str) -> Iterator[sqlite3.Connection]:
    """Opens before the `yield`, closes after it."""
    database = sqlite3.connect(path, check_same_thread=False)  # tasks may run in other threads
    try:
        database.execute("CREATE TABLE visitors (day TEXT, number INTEGER)")
        yield database
    finally:
        database.close()
        print("the database is closed")


class Museum(containers.DeclarativeContainer):
    database = providers.Resource(open_database, path=":memory:")


@task
@inject
def note(day: str, number: int, database: sqlite3.Connection = Provide[Museum.database]) -> None:
    database.execute("INSERT INTO visitors VALUES (?, ?)", (day, number))


@task
@inject
def total(database: sqlite3.Connection = Provide[Museum.database]) -> int:
    return database.execute("SELECT sum(number) FROM visitors").fetchone()[0]


@flow(name="census")
@lifespan(Museum)
def census(visitors: dict[str, int]) -> int:
    for day, number in visitors.items():
        note(day, number)
    return total()


def demo() -> str:
    """One run, three tasks, one connection."""
    return f"{census({'Monday': 120, 'Tuesday': 80})} visitors"


if __name__ == "__main__":
    print(demo())
