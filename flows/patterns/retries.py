"""Retries with a policy: how a resource is opened stands beside its initialiser, and not in the flow.

By hand: a loop around `connect()` with its own delays and its own log lines. Prefect's retries go along with this:
each attempt of a flow opens everything anew, and each attempt of a task its `TaskResource`s.
"""

import itertools
from collections.abc import Callable, Iterator

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan, resource

calls = itertools.count(1)


@resource(retries=5, retry_delay_seconds=[0.05, 0.1, 0.2], retry_on=ConnectionError, open_timeout_seconds=30)
def open_partner(name: str) -> Iterator[Callable[[str], None]]:
    """A partner whose line is engaged at first: every third call gets through."""
    if next(calls) % 3:
        print(f"{name} is engaged")
        raise ConnectionError(f"{name} is engaged")
    yield lambda order: print(f"{name} takes {order}")


class Orders(containers.DeclarativeContainer):
    partner = providers.Resource(open_partner, name="the partner")


@task
@inject
def send(order: str, partner: Callable[[str], None] = Provide[Orders.partner]) -> None:
    partner(order)


@flow(name="send-orders")
@lifespan(Orders)
def send_orders(orders: list[str]) -> str:
    for order in orders:
        send(order)
    return f"{len(orders)} orders sent"


def demo() -> str:
    """One run, whose resource opens at the third attempt."""
    return send_orders(["apples", "pears"])


if __name__ == "__main__":
    print(demo())
