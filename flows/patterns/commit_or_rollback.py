"""Commit or roll back by the outcome of the run: the transaction is a resource, and the run's exception reaches it.

By hand: a `success = False` before the `try`, `success = True` as its last line, and an `if` in the `finally`.
Here `open_ledger` is a plain `with connection.begin()` around a `yield`.
"""

from __future__ import annotations

from dependency_injector import providers
from prefect import flow, task
from sqlalchemy import Connection

from containers.app import AppContainer
from containers.resources import open_ledger
from containers.services.journal import Journal, write_entry
from prefect_lifespan import Provide, inject, lifespan


class BookingContainer(AppContainer):
    """The application with a transaction that the run's outcome decides."""

    ledger = providers.Resource(open_ledger, engine=AppContainer.warehouse)


@task
@inject
def book(account: str, amount: int, ledger: Connection = Provide[BookingContainer.ledger]) -> None:
    """Books an amount; an unknown account is refused."""
    if account == "unknown":
        raise LookupError(f"there is no account {account!r}")
    write_entry(ledger, "bookings", f"{account} {amount:+d}")


@flow(name="transfer")
@lifespan(BookingContainer)
def transfer(giver: str, taker: str, amount: int) -> None:
    """Two bookings that belong together."""
    book(giver, -amount)
    book(taker, amount)


def demo() -> str:
    """Three transfers that succeed and one that fails half-way, and leaves nothing behind."""
    with lifespan(AppContainer) as container:
        before = len(container.journal().entries("bookings"))
    for amount in (10, 20, 30):
        transfer("alice", "bob", amount)
    state = transfer("alice", "unknown", 40, return_state=True)
    with lifespan(AppContainer) as container:
        journal: Journal = container.journal()
        written = len(journal.entries("bookings")) - before
    return f"4 transfers, the last one {state.name} on purpose: {written} bookings, none of them half a transfer"


if __name__ == "__main__":
    print(demo())
