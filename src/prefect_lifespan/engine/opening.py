"""Decisions of opening that the blocking and the asynchronous driver share: attempts, and what is ready when."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from prefect_lifespan.engine.clocks import standing_still
from prefect_lifespan.engine.closing import add_note
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.slot import Slot, State, being_opened
from prefect_lifespan.errors import AsyncResourceError, ResourceTimeoutError
from prefect_lifespan.graph import Graph
from prefect_lifespan.managers import GeneratorManager, manager
from prefect_lifespan.masking import told

Chain = Callable[[Slot], str]
T = TypeVar("T")


class Attempts:
    """The attempts to open one slot: how long each may take, whether another follows, and after what delay."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.left = slot.policy.retries or 0
        self._retry = 0
        self.limit = slot.policy.open_timeout_seconds
        self.clock = slot.clock
        self._given_up = False
        self.start()

    def start(self) -> None:
        """An attempt begins."""
        self.clock.start()

    @property
    def seconds(self) -> float:
        """How long the attempt has taken by itself so far, without what it waited for others."""
        return self.clock.seconds

    def seconds_left(self) -> float | None:
        """What is left of its limit; None where it has none."""
        return None if self.limit is None else self.limit - self.seconds

    def timeout(self) -> ResourceTimeoutError:
        """The error of an attempt that took too long."""
        return ResourceTimeoutError(self.slot.path, "open", self.limit or self.seconds)

    def delay_after(self, error: BaseException) -> float | None:
        """Seconds to wait before the next attempt; None when there is none, and `error` is final."""
        if self._given_up:
            return None
        if isinstance(error, Exception) and self._is_worth_another(error):
            try:
                delay = self.slot.policy.delay_before(self._retry)
            except Exception as broken:
                add_note(error, f"it was not tried again: its retry_delay_seconds raised {told(broken)}")
            else:
                self.left -= 1
                self._retry += 1
                self.slot.event("open-retried", self.seconds, error)
                return delay
        self.give_up(error)
        return None

    def _is_worth_another(self, error: Exception) -> bool:
        # An argument that cannot be made, such as a setting that is missing, is not there in a second either.
        if not self.left or self.slot.ledger.ended or self.slot.provider.argument_failure is error:
            return False
        try:
            return self.slot.policy.retries_after(error)
        except Exception as broken:
            add_note(error, f"it was not tried again: its retry_on raised {told(broken)}")
            return False

    def give_up(self, error: BaseException) -> None:
        """None of them came to anything, and none follows, whatever becomes of one that is still under way."""
        self._given_up = True
        self.slot.event("open-failed", self.seconds, error)


def while_others_open() -> GeneratorManager[None]:
    """The initialiser that this is called in, if any, waits for what it asked for: its own limit counts on after that."""
    return standing_still(slot.clock for slot in being_opened.get()[-1:])


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


def while_holding_the_loop(slot: Slot) -> GeneratorManager[None]:
    """What is being opened on the event loop of this thread cannot go on until `slot` has been."""
    loop = running_loop()
    waiting = (other for other in list(slot.ledger.opening) if other.host is not None and other.loop is loop)
    return standing_still(other.clock for other in waiting if loop is not None and other is not slot)


def without_loop(slots: Iterable[Slot], needs: Callable[[Slot], Iterable[Slot]]) -> tuple[list[Slot], list[Slot]]:
    """Slots, dependencies first, as two lists: those that open without an event loop, and those that are to wait for one.

    What waits are asynchronous ones that are not open, and what needs them.
    """
    here: list[Slot] = []
    waiting: dict[Slot, None] = {}
    for slot in slots:
        unopened = slot.asynchronous and slot.state is not State.OPEN
        if unopened or any(needed in waiting for needed in needs(slot)):
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


class Readiness:
    """Which slots can be opened now: those whose needs are open. Linear in slots and edges over its whole life."""

    def __init__(self, slots: Iterable[Slot], needs: Callable[[Slot], Iterable[Slot]]) -> None:
        todo = {slot: 0 for slot in slots if slot.state is not State.OPEN}
        self._users: dict[Slot, list[Slot]] = {}
        for slot in todo:
            for needed in needs(slot):
                if needed in todo:
                    todo[slot] += 1
                    self._users.setdefault(needed, []).append(slot)
        self._waiting_for = todo
        self._ready = [slot for slot, count in todo.items() if count == 0]
        self.left = len(todo)

    def take(self) -> Iterator[Slot]:
        """The slots that have become ready since the last time, in order."""
        ready, self._ready = self._ready, []
        return iter(ready)

    def opened(self, slot: Slot) -> None:
        """`slot` is open: who needed it may have become ready."""
        self.left -= 1
        for user in self._users.get(slot, ()):
            self._waiting_for[user] -= 1
            if self._waiting_for[user] == 0:
                self._ready.append(user)


def while_opening(slot: Slot, function: Callable[[], T]) -> T:
    """What `function` returns that opens `slot`, as what it asks for can tell."""
    outer = being_opened.get()
    try:
        try:
            being_opened.set((*outer, slot))
            return function()
        finally:
            being_opened.set(outer)
    finally:  # where a signal has interrupted that
        being_opened.set(outer)
