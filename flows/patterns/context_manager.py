"""The context-manager form: the same container in a script, a notebook or a test, with no flow run at all.

By hand: a second set of connections for everything that is not a flow, with its own way to close them.
"""

from __future__ import annotations

from containers.app import AppContainer
from containers.services.history import HistoryStore
from containers.services.runs import RunSource
from prefect_lifespan import Provide, inject, lifespan


@inject
def stored(history: HistoryStore = Provide[AppContainer.history]) -> str:
    """A plain function: `@inject` needs no task."""
    flow_runs, task_runs = history.counts()
    return f"{flow_runs} flow runs and {task_runs} task runs in the warehouse"


def demo() -> str:
    """Asks the warehouse and the API, by injection and by the container itself."""
    with lifespan(AppContainer) as container:
        runs: RunSource = container.runs()
        return f"{stored()}, read from {runs.address}"


if __name__ == "__main__":
    print(demo())
