"""Settings are made, and options of configurations looked at, before anything that needs them opens.

What is missing or wrong there is told once, as that: not as the failure of the resource that happened to ask first,
which would be logged as its own and tried again by its policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from prefect_lifespan.engine.face import Face
from prefect_lifespan.engine.notes import add_note
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.slot import Slot
from prefect_lifespan.errors import InvalidContainerError
from prefect_lifespan.graph import Node, refused_options


class SettingsFirst:
    """The settings of one container instance, each made once, before what needs it."""

    def __init__(self, engine: Face) -> None:
        self._engine = engine
        self._made: set[int] = set()

    def make(self, slots: Iterable[Slot] | None = None, asked: Iterable[int] = ()) -> None:
        """Make what the slots that are to be opened, and the providers of `asked`, need; without slots, whatever is in force.

        Raises:
            InvalidContainerError: options without a value that may not be without.
            Exception: what a class of settings raises, with a note of where it stands.
        """
        self._refuse_missing_options(slots)
        for node in self._left(slots, asked):
            self._make(node)

    async def amake(self, slots: Iterable[Slot] | None = None, asked: Iterable[int] = ()) -> None:
        """The same from a coroutine: settings may ask an API, for which an event loop must not stand still."""
        self._refuse_missing_options(slots)
        for node in self._left(slots, asked):
            await asyncio.to_thread(self._make, node)

    def _refuse_missing_options(self, slots: Iterable[Slot] | None) -> None:
        graph = self._engine.graph
        if slots is None or not graph.options or self._engine.schedule.ended:
            return
        pending = [slot.node.key for slot in slots if slot.state is State.PENDING]
        if missing := refused_options(graph, pending, self._engine.instances):
            raise InvalidContainerError(graph.container, missing)

    def _left(self, slots: Iterable[Slot] | None, asked: Iterable[int]) -> Sequence[Node]:
        graph = self._engine.graph
        if len(self._made) == len(graph.settings) or self._engine.schedule.ended:
            return ()
        if slots is None:
            wanted = graph.settings_in_force
        else:
            pending = [slot.node.key for slot in slots if slot.state is State.PENDING]
            wanted = graph.settings_of([*pending, *(key for key in asked if key in graph.nodes)])
        return [node for node in wanted if node.key not in self._made]

    def _make(self, node: Node) -> None:
        # dependency-injector's singletons are made twice by two threads that are the first to ask.
        with self._engine.making:
            try:
                self._engine.instances[node.key]()
            except Exception as error:
                add_note(error, f"while making the settings {self._engine.graph.container}.{node.path}")
                raise
        self._made.add(node.key)
