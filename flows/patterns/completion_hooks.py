"""Completion hooks: injected like tasks, and cleaned up like everything else.

A state hook runs after the flow function has returned, when the run's resources are closed. By hand it needs a
global client. With `@inject` it opens just what it asks for, and closes it when it returns.
"""

from collections.abc import Callable, Iterator
from typing import Any

from dependency_injector import containers, providers
from prefect import Flow, flow
from prefect.client.schemas.objects import FlowRun, State

from prefect_lifespan import Provide, inject, lifespan

Send = Callable[[str], None]


def open_telegraph(office: str) -> Iterator[Send]:
    """A connection to whoever wants to hear of it: mail, a chat, a pager."""
    yield lambda text: print(f"{office}: {text}")


class Stock(containers.DeclarativeContainer):
    counts = providers.Object({"apples": 3, "pears": 5})
    telegraph = providers.Resource(open_telegraph, office="warehouse")


@inject
def announce(
    flow: Flow[..., Any],  # Prefect passes these three, by position
    flow_run: FlowRun,  # noqa: ARG001
    state: State[Any],
    send: Send = Provide[Stock.telegraph],
) -> None:
    send(f"{flow.name} is {state.name}")


@flow(name="take-stock", on_completion=[announce], on_failure=[announce])
@lifespan(Stock, eager=False)  # the flow itself sends nothing, so the telegraph stays closed until a hook needs it
def take_stock(item: str, counts: dict[str, int] = Provide[Stock.counts]) -> int:
    if item not in counts:
        raise LookupError(f"nobody has counted {item}")
    return counts[item]


def demo() -> str:
    """A run that completes and one that fails, both announced."""
    states = [take_stock(item, return_state=True) for item in ("apples", "ghosts")]
    return f"{', '.join(str(state.name) for state in states)} (the last one on purpose)"


if __name__ == "__main__":
    print(demo())
