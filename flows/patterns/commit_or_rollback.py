"""Commit or roll back by the outcome of each task: the transaction is a resource, and the task's exception reaches it.

By hand: a flag that tells the `finally` of each task whether the work succeeded. As a `providers.Resource` the same
transaction would be the whole run's.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, TaskResource, inject, lifespan


def open_database(path: str) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("CREATE TABLE bookings (account TEXT, amount INTEGER)")
        yield database
    finally:
        database.close()


def begin(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    with database:  # how the task ended arrives at the `yield`, and decides
        yield database


class Bank(containers.DeclarativeContainer):
    database = providers.Resource(open_database, path=":memory:")
    transaction = TaskResource(begin, database)


@task
@inject
def transfer(giver: str, taker: str, amount: int, transaction: sqlite3.Connection = Provide[Bank.transaction]) -> None:
    transaction.execute("INSERT INTO bookings VALUES (?, ?)", (giver, -amount))
    if taker == "nobody":
        raise LookupError("there is no account of nobody")
    transaction.execute("INSERT INTO bookings VALUES (?, ?)", (taker, amount))


@flow(name="transfers")
@lifespan(Bank)
def transfers(takers: list[str], database: sqlite3.Connection = Provide[Bank.database]) -> str:
    for taker in takers:
        transfer("alice", taker, 10, return_state=True)
    number, balance = database.execute("SELECT count(*), sum(amount) FROM bookings").fetchone()
    return f"{len(takers)} transfers, one of them to nobody: {number} bookings, which add up to {balance}"


def demo() -> str:
    """Two transfers that succeed, and one that fails half-way and leaves nothing behind."""
    return transfers(["bob", "nobody", "carol"])


if __name__ == "__main__":
    print(demo())
