"""Slots of a global concurrency limit as a resource: all runs on all machines stay within a database's connections.

By hand: `with concurrency("warehouse"):` around each use, in the right order with the connection that it is for.
"""

import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from prefect_lifespan import Provide, lifespan
from prefect_lifespan.concurrency import concurrency_slots

LIMIT = "prefect-lifespan-pattern"


def open_warehouse(slots: object) -> Iterator[sqlite3.Connection]:  # noqa: ARG001  an argument, to open after them
    warehouse = sqlite3.connect(":memory:")
    try:
        yield warehouse
    finally:
        warehouse.close()


class Warehouse(containers.DeclarativeContainer):
    slots = providers.Resource(concurrency_slots, LIMIT, timeout_seconds=600)
    warehouse = providers.Resource(open_warehouse, slots)


def taken() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(LIMIT).active_slots


@flow(name="ask-the-warehouse")
@lifespan(Warehouse)
def ask(warehouse: sqlite3.Connection = Provide[Warehouse.warehouse]) -> tuple[int, int]:
    return warehouse.execute("SELECT 6 * 7").fetchone()[0], taken()


def demo() -> str:
    """A limit of three, made for this, and a run that takes one of its slots."""
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=3))
        try:
            answer, during = ask()
            return f"the answer is {answer}, with {during} of 3 slots taken in the run and {taken()} after it"
        finally:
            client.delete_global_concurrency_limit_by_name(LIMIT)


if __name__ == "__main__":
    print(demo())
