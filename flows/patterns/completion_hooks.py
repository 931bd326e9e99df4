"""Completion hooks: injected like tasks, and cleaned up like everything else.

A state hook runs after the flow function has returned, when the run's resources are closed. By hand it needs a
global client. With `@inject` it opens just what it asks for, and closes it when it returns.
"""

from __future__ import annotations

from typing import Any

from prefect import Flow, flow, task
from prefect.client.schemas.objects import FlowRun, State

from containers.app import AppContainer
from containers.services.journal import Journal
from prefect_lifespan import Provide, inject, lifespan


@inject
def announce(
    flow: Flow[..., Any],  # noqa: ARG001  Prefect passes these three, by position
    flow_run: FlowRun,
    state: State[Any],
    journal: Journal = Provide[AppContainer.journal],
) -> None:
    """Writes down how a run ended."""
    journal.write("announcements", f"{flow_run.name}: {state.name}")


@task
@inject
def stock(item: str, journal: Journal = Provide[AppContainer.journal]) -> int:
    """How often an item was counted before; nobody sells ghosts."""
    if item == "ghosts":
        raise ValueError("ghosts cannot be counted")
    journal.write("stock", item)
    return journal.entries("stock").count(item)


@flow(name="take-stock", on_completion=[announce], on_failure=[announce])
@lifespan(AppContainer)
def take_stock(item: str) -> int:
    """Counts an item."""
    return stock(item)


def demo() -> str:
    """Three runs that complete and one that fails, all of them announced by their hooks."""
    with lifespan(AppContainer) as container:
        before = len(container.journal().entries("announcements"))
    for item in ("apples", "pears", "plums", "ghosts"):
        take_stock(item, return_state=True)
    with lifespan(AppContainer) as container:
        announced = [entry.rsplit(": ", 1)[1] for entry in container.journal().entries("announcements")[before:]]
    return f"announced: {', '.join(announced)} (the last one on purpose)"


if __name__ == "__main__":
    print(demo())
