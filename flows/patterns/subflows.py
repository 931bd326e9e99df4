"""Subflows: one of the same container joins its parent's lifespan, or has one of its own where it says so.

By hand: the connection as a parameter of each subflow, which Prefect cannot serialise; or one more connection for each.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow

from prefect_lifespan import Provide, lifespan


def open_database(path: str) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("CREATE TABLE sales (item TEXT)")
        yield database
    finally:
        database.close()


class Shop(containers.DeclarativeContainer):
    database = providers.Resource(open_database, path=":memory:")


def add_sale(item: str, database: sqlite3.Connection) -> int:
    database.execute("INSERT INTO sales VALUES (?)", (item,))
    return database.execute("SELECT count(*) FROM sales").fetchone()[0]


@flow(name="sell")
@lifespan(Shop)  # joins the lifespan of whoever calls it
def sell(item: str, database: sqlite3.Connection = Provide[Shop.database]) -> str:
    return f"{item} was sale {add_sale(item, database)}"


@flow(name="rehearse")
@lifespan(Shop, share=False)  # opens its own, and closes it
def rehearse(item: str, database: sqlite3.Connection = Provide[Shop.database]) -> str:
    return f"{item} was sale {add_sale(item, database)} of a rehearsal"


@flow(name="market-day")
@lifespan(Shop)
def market_day() -> list[str]:
    return [sell("apples"), rehearse("figs"), sell("pears")]


def demo() -> str:
    """A flow with three subflows."""
    return ", ".join(market_day())


if __name__ == "__main__":
    print(demo())
