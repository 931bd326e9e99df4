"""The context-manager form: the same container in a script, a notebook or a test, with no flow run at all.

By hand: a second set of connections for everything that is not a flow, with its own way to close them.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan


def open_database(path: str) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    try:
        database.execute("CREATE TABLE books (title TEXT)")
        yield database
    finally:
        database.close()
        print("the database is closed")


class Library(containers.DeclarativeContainer):
    database = providers.Resource(open_database, path=":memory:")


@inject
def titles(database: sqlite3.Connection = Provide[Library.database]) -> list[str]:
    """A plain function: `@inject` needs no task."""
    return [title for (title,) in database.execute("SELECT title FROM books ORDER BY title")]


def demo() -> str:
    """Uses the database by the container itself, and by injection."""
    with lifespan(Library) as container:
        container.database().executemany("INSERT INTO books VALUES (?)", [("Walden",), ("Emma",)])
        return f"{' and '.join(titles())}, without a flow run"


if __name__ == "__main__":
    print(demo())
