"""An application-wide lifespan: several flow runs share one connection, as the requests of a FastAPI app do.

By hand: module-level globals that nobody closes. Here a flow that is called inside `with lifespan(Weather)` joins it;
the same flow, deployed on its own, opens its own.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def open_database(path: str) -> Iterator[sqlite3.Connection]:
    print("the database opens")
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("CREATE TABLE IF NOT EXISTS measurements (region TEXT, value INTEGER)")
        yield database
    finally:
        database.close()
        print("the database closes")


class Weather(containers.DeclarativeContainer):
    database = providers.Resource(open_database, path=":memory:")


@task
@inject
def store(region: str, value: int, database: sqlite3.Connection = Provide[Weather.database]) -> None:
    database.execute("INSERT INTO measurements VALUES (?, ?)", (region, value))


@flow(name="load-region")
@lifespan(Weather)
def load_region(region: str, values: list[int]) -> None:
    for value in values:
        store(region, value)


def demo() -> str:
    """Three flow runs in one application."""
    with lifespan(Weather) as container:
        for region, values in {"north": [3, 4], "east": [7], "west": [5]}.items():
            load_region(region, values)
        (stored,) = container.database().execute("SELECT count(*) FROM measurements").fetchone()
    return f"3 flow runs stored {stored} measurements by one connection"


if __name__ == "__main__":
    print(demo())
