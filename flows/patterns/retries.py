"""Retries with a resource that fails at first: an attempt of a flow opens everything anew, so Prefect's retry is enough.

By hand: a loop around `connect()` with its own delays and its own log lines, beside the retries that Prefect has.
"""

from __future__ import annotations

from collections.abc import Iterator

from dependency_injector import providers
from prefect import flow, task
from prefect.runtime import flow_run
from sqlalchemy import Engine

from containers.app import AppContainer
from containers.services.journal import Journal
from prefect_lifespan import Provide, inject, lifespan

WAKES_UP_AT = 3


def open_partner(engine: Engine) -> Iterator[Journal]:
    """A partner's system that is asleep at first: it answers the third attempt of a run."""
    attempt = int(flow_run.run_count or 1)
    if attempt < WAKES_UP_AT:
        raise ConnectionError(f"the partner's system is starting up (attempt {attempt})")
    yield Journal(engine)


class PartnerContainer(AppContainer):
    """The application with a partner's system."""

    partner = providers.Resource(open_partner, engine=AppContainer.warehouse)


@task
@inject
def send(order: int, partner: Journal = Provide[PartnerContainer.partner]) -> None:
    """Sends an order to the partner."""
    partner.write("orders", f"order {order}")


@flow(name="send-orders", retries=3, retry_delay_seconds=0.1)
@lifespan(PartnerContainer)
def send_orders(orders: int) -> int:
    """Sends the day's orders; returns the attempt that did it."""
    for order in range(orders):
        send(order)
    return int(flow_run.run_count or 1)


def demo() -> str:
    """Two runs, each with two attempts that find the partner asleep."""
    return f"orders sent at attempt {send_orders(3)} and {send_orders(5)}"


if __name__ == "__main__":
    print(demo())
