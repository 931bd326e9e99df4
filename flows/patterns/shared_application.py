"""An application-wide lifespan: several flow runs share one database engine and one API client, as FastAPI has it.

By hand: module-level globals that nobody closes. Here a flow that is called inside `with lifespan(AppContainer)`
joins it; the same flow, deployed on its own, opens its own.
"""

from __future__ import annotations

from prefect import flow, task
from sqlalchemy import Engine, text

from containers.app import AppContainer
from containers.services.journal import Journal
from prefect_lifespan import Provide, inject, lifespan


@task
@inject
def load(region: str, rows: int, journal: Journal = Provide[AppContainer.journal]) -> int:
    """Loads a region's rows."""
    for row in range(rows):
        journal.write(f"region {region}", f"row {row}")
    return rows


@flow(name="load-region")
@lifespan(AppContainer)
def load_region(region: str, rows: int, warehouse: Engine = Provide[AppContainer.warehouse]) -> int:
    """Loads one region; returns which engine it did that with."""
    load(region, rows)
    with warehouse.connect() as connection:
        connection.execute(text("SELECT 1"))
    return id(warehouse)


def demo() -> str:
    """Five flow runs in one application."""
    with lifespan(AppContainer):
        engines = {load_region(region, rows) for region, rows in zip("NESWC", (5, 20, 10, 40, 15), strict=True)}
    return f"5 flow runs, {len(engines)} engine"


if __name__ == "__main__":
    print(demo())
