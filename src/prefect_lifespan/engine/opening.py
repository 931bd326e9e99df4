"""What an opening says of itself when it fails, and what of it can be done without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence

from prefect_lifespan.engine.clocks import while_others_open
from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import AsyncResourceError
from prefect_lifespan.graph import Graph
from prefect_lifespan.managers import manager


@manager
def opening_for(graph: Graph, slots: Sequence[Slot], where: str, asked: Sequence[int]) -> Generator[None]:
    """Around the opening of slots: an initialiser's error is noted what was being opened, and who asked for it how."""
    with while_others_open():
        try:
            yield
        except BaseException as error:
            failed = next((slot for slot in slots if slot.failure is error), None)
            if failed is not None and not isinstance(error, AsyncResourceError):
                # Where nobody asked in particular, what of these needs it, if anything does.
                chain = graph.chain(failed.node.key, asked or [slot.node.key for slot in reversed(slots)])
                annotate(error, [where, *chain] if asked else chain, graph.container)
            raise


def without_loop(slots: Iterable[Slot], needs: Callable[[Slot], Iterable[Slot]]) -> tuple[list[Slot], list[Slot]]:
    """Slots, dependencies first, as two lists: those that open without an event loop, and those that are to wait for one.

    What waits are asynchronous ones that are not open, and what needs them.
    """
    here: list[Slot] = []
    waiting: dict[Slot, None] = {}
    for slot in slots:
        unopened = slot.asynchronous and slot.state is not State.OPEN
        if unopened or (waiting and any(needed in waiting for needed in needs(slot))):
            waiting[slot] = None
        else:
            here.append(slot)
    return here, list(waiting)


def annotate(error: BaseException, chain: Iterable[str], container: str) -> None:
    """Name the resource, who needs it, and the container, on an initialiser's own exception."""
    names = list(chain)
    text = f"while opening {container}.{names[-1]}"
    if len(names) > 1:
        text += f" (needed along {' → '.join(names)})"
    add_note(error, text)
