"""Lifespans of other processes, as this one has them: opened when first needed, held by tasks, closed once.

An opening is closed by the first of these: its driver says that the lifespan has ended (with its outcome), the driver is
lost, this process ends, or it stood unused for long while nobody was going to say anything.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager, suppress
from contextvars import copy_context
from time import monotonic

from prefect_lifespan.engine import CloseReport, Engine, Event, Options, process_engines
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.slot import State
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.lifespans.futures import PendingFutures
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.lifespans.session import Grace
from prefect_lifespan.scope import InForce, Reached, Scope
from prefect_lifespan.workers.exits import at_exit
from prefect_lifespan.workers.reach import HasEnded, Joined
from prefect_lifespan.workers.references import BroughtLayer, LayerReference, LifespanReference, Parts, ScopeReference

# How long an opening may stand unused where nobody will say that its lifespan has ended.
IDLE_SECONDS_VARIABLE = "PREFECT_LIFESPAN_WORKER_IDLE_SECONDS"
IDLE_SECONDS = 300.0

# Ended openings that are remembered, so that a late task is told by name.
_REMEMBERED = 1000


class Abandoned(LifespanError):
    """The outcome of a lifespan whose driver is gone: nobody can say how it ended, so it is not a success."""


class Membership:
    """This process's part in a lifespan of another one, which it joins when it opens something, or passes it on."""

    def __init__(self, reference: LifespanReference, *, attached: bool, ended: bool) -> None:
        self.attached = attached  # whether the lifespan waits for a task here
        self.ended = ended
        self.joined: Joined | None = None
        self._reference = reference
        self._tried = False
        self._lock = threading.Lock()

    def join(self) -> None:
        """Let this process be told when the lifespan ends; doing it again does nothing."""
        with self._lock:
            if not self._tried and not self.ended and self._reference.link is not None:
                self._tried = True
                try:
                    self.joined = self._reference.link.join(self._reference.id)
                except HasEnded:
                    self.ended = self.attached
        if not self.ended:
            at_exit(openings.close_all)

    def resign(self) -> None:
        """Be told no more: what is open here is closed otherwise."""
        with self._lock:
            joined, self.joined = self.joined, None
        if joined is not None:
            joined.farewell(CloseReport("", None))


class Opening(InForce):
    """A lifespan of another process, in this one."""

    def __init__(self, reference: LifespanReference, *, attached: bool, ended: bool = False) -> None:
        layers = tuple(BroughtLayer(LayerReference(layer, b"")) for layer in reference.layers)
        self.futures = PendingFutures()  # of tasks that tasks here have submitted
        super().__init__(self._make_engine, layers, self.futures, opening=reference.id, logger=reference.logger)
        self.membership = Membership(reference, attached=attached, ended=ended)
        self._delayed = not attached
        self.users = 0
        self.scopes: dict[str, Scope] = {}
        self.unused_since = monotonic()
        self.reference = reference
        self._made: Engine | None = None
        self._making = threading.Lock()
        self._free = threading.Condition()

    @property
    def may_be_left_alone(self) -> bool:
        """Whether something was opened here that no task uses, and of which perhaps nobody will say when to close it."""
        joined = self.membership.joined
        unsure = joined is None or joined.is_lost is not None
        return self.users == 0 and self.is_in_use and unsure

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, here or where tasks went on to."""
        return self._made is not None or bool(self.elsewhere())

    @property
    def is_told(self) -> bool:
        """Whether somebody was to say when to close it."""
        return self.membership.joined is not None

    def is_lost(self) -> bool:
        """Whether nobody will, as far as can be found out; that may take a while."""
        joined = self.membership.joined
        return joined is None or (joined.is_lost is not None and joined.is_lost())

    def reach(self, key: Hashable, make: Callable[[], Reached]) -> Reached:
        """The other processes that it has reached from here: they hear of its end through this one."""
        self.membership.join()
        reached = super().reach(key, make)
        if self.membership.ended:
            reached.close(Abandoned("the lifespan has ended"), 0.0)
        return reached

    def _make_engine(self) -> Engine:
        with self._making:
            if self._made is None:
                self._made = self._new_engine()
            return self._made

    def _new_engine(self) -> Engine:
        reference = self.reference
        try:
            parts = Parts.loaded(reference.payload, delayed=self._delayed)
        except Exception as error:
            error.add_note(
                f"while the container of {reference.run} was unpickled in worker process {os.getpid()}, which has to be "
                "able to import whatever the run's own process imports"
            )
            raise
        context, pid = copy_context(), os.getpid()

        def listener(event: Event) -> None:
            # What closes it is no task, and would not know the API that Prefect's settings name.
            told = (event.level, "%s in worker process %d", event.message, pid)
            context.copy().run(self.logger.log, *told)

        engine = Engine.of(
            parts.container,
            name=reference.run,
            options=Options(parts.policy, listeners=(listener,)),
            overrides=parts.by_key,
        )
        engine.ledger.home_thread = None
        self.membership.join()
        if self.membership.ended:
            engine.close()  # what is asked of it says that its lifespan has ended, and names both
        else:
            process_engines.enter(engine.process_keys)
        return engine

    def hold(self) -> None:
        """A task begins that may use it."""
        with self._free:
            self.users += 1

    def release(self) -> bool:
        """A task that might use it has ended; whether it may be left alone now."""
        with self._free:
            self.users -= 1
            self.unused_since = monotonic()
            self._free.notify_all()
            return self.may_be_left_alone

    def is_left_to_the_last_task(self) -> bool:
        """Whether tasks use it that nobody waits for; the last of them closes it."""
        with self._free:
            if self.membership.attached or not self.users:
                return False
        self.membership.resign()
        return True

    def wait_until_unused(self, grace: Grace) -> bool:
        """Wait for the last task, and for those that tasks here have submitted; False when the time ran out."""
        with self._free:
            unused = self._free.wait_for(lambda: self.users == 0, grace.left)
        return self.futures.wait(grace.left) and unused

    def seconds_to_close(self, grace: float | None) -> float | None:
        """How long closing here may take, by the limits of what is open; None for no limit."""
        with self._making:
            engine = self._made
        if engine is None:
            return None if self.elsewhere() else 0.0
        slots = {slot for each in (engine, *engine.dependents.lasting) for slot in each.slots.values()}
        limits = [slot.policy.close_timeout_seconds for slot in slots if slot.state is not State.PENDING]
        # Of what was reached from here, and of tasks that may run as long as they like, nothing is known.
        if self.elsewhere() or None in limits or (grace is None and self.users):
            return None
        return sum(limit for limit in limits if limit is not None) + (grace or 0.0)

    def close(self, outcome: Outcome, grace: Grace) -> CloseReport:
        """Close what was opened here, and before it what was reached from here."""
        with self._making:
            self.membership.ended = True
            engine = self._made
        report = CloseReport(self.reference.run, outcome)
        for reached in self.elsewhere():
            report.merge(reached.close(outcome, grace.left))
        if engine is not None:
            report.merge(engine.close(outcome))
            link = self.reference.link
            for ended in process_engines.leave(engine.process_keys, closing=link is not None and link.is_last_word):
                report.merge(ended.close(outcome))
        if self.membership.joined is not None:
            self.membership.joined.farewell(report)
        return report


class Openings:
    """All lifespans of other processes that are in use in this one, and the scopes of its own that left it."""

    def __init__(self) -> None:
        self._openings: dict[str, Opening] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        # With the process, as a forked child inherits the table, and must not use what is open in its parent.
        self._local: dict[tuple[int, str], InForce] = {}
        self._users_of_local: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._free = threading.Condition(self._lock)
        self._watching = False

    # Lifespans of this process: a task runner may bring tasks back to a thread of it.

    def remember(self, lifespan: InForce) -> None:
        """Let a lifespan of this process be found here until it ends."""
        with self._lock:
            self._local.setdefault((os.getpid(), lifespan.id), lifespan)

    def forget(self, key: str, seconds: float | None) -> None:
        """A lifespan of this process has ended: tasks that come late are told so, those that run may end before.

        Their futures do not tell when they do: Dask's count as done when they are cancelled, whatever still runs.
        """
        with self._free:
            self._free.wait_for(lambda: not self._users_of_local[key], seconds)
            self._end(key)
            self._local.pop((os.getpid(), key), None)
            del self._users_of_local[key]

    # Lifespans of other processes

    @contextmanager
    def holding(self, reference: ScopeReference) -> Generator[Scope]:
        """The scope that a reference stands for, which stays open for the body."""
        with self._lock:
            held = [self._hold(item, reference) for item in reference.lifespans]
        try:
            yield self._scope(reference, held)
        finally:
            for lifespan in reversed(held):
                self._release(lifespan)

    def seconds_to_close(self, key: str, grace: float | None) -> float | None:
        """How long the end of an opening may take here; None for no limit."""
        with self._lock:
            opening = self._openings.get(key)
        return 0.0 if opening is None else opening.seconds_to_close(grace)

    def end(self, key: str, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close an opening when the last task that holds it is done, or after `grace` seconds."""
        with self._lock:
            opening = self._openings.pop(key, None)
            self._end(key)
        if opening is None:
            return CloseReport("", outcome)
        if opening.is_left_to_the_last_task():
            return CloseReport("", outcome)
        if outcome is not None:
            opening.futures.cancel_queued()
        left = Grace(grace)
        if not opening.wait_until_unused(left):
            flow_logger().warning("Tasks still run at the end of their grace; what they use closes now")
        return opening.close(outcome, left)

    def close_all(self, terminated: bool) -> None:
        """Close everything: this process ends, in order or by a signal."""
        cut_off = Abandoned("the worker process was terminated")
        untold = Abandoned("the worker process has ended, and nobody said how its lifespan did")
        with self._lock:
            remaining = list(self._openings.values())
            self._openings.clear()
            for opening in remaining:
                self._end(opening.id)
        for opening in reversed(remaining):
            with suppress(Exception):
                # In a process that ends before the lifespan does, what was to be told counts as well so far.
                opening.close(cut_off if terminated else None if opening.is_told else untold, Grace(0.0))

    def _hold(self, item: LifespanReference, scope: ScopeReference) -> InForce:
        local = self._local.get((os.getpid(), item.id))
        if local is None:
            return self._take(item, scope)
        self._users_of_local[item.id] += 1
        return local

    def _take(self, reference: LifespanReference, scope: ScopeReference) -> Opening:
        opening = self._openings.get(reference.id)
        if opening is None:
            ended = reference.id in self._ended
            opening = Opening(reference, attached=scope.attached, ended=ended and scope.attached)
            if not ended:
                self._openings[reference.id] = opening
        membership = opening.membership
        membership.attached = membership.attached or scope.attached
        opening.hold()
        return opening

    def _release(self, lifespan: InForce) -> None:
        if isinstance(lifespan, Opening):
            self._release_opening(lifespan)
            return
        with self._free:
            self._users_of_local[lifespan.id] -= 1
            self._free.notify_all()

    def _release_opening(self, opening: Opening) -> None:
        if not opening.release():
            return
        if opening.membership.attached or opening.is_told:
            self._watch_idle()
            return
        # Nobody waits for this task, and nobody will say that the lifespan has ended: its end is the last task's.
        with self._lock:
            if opening.users:
                return
            if self._openings.get(opening.id) is opening:
                del self._openings[opening.id]
        opening.close(None, Grace(0.0))

    @staticmethod
    def _scope(reference: ScopeReference, held: list[InForce]) -> Scope:
        delayed = not reference.attached
        new = Scope(tuple(held), tuple(BroughtLayer(layer, delayed=delayed) for layer in reference.layers))
        innermost = held[-1] if held else None
        if not isinstance(innermost, Opening):
            return new
        # Kept with the innermost lifespan, so that what injection prepares for it serves all tasks.
        kept = innermost.scopes.get(reference.key)
        if kept is None or kept.lifespans != new.lifespans:
            kept = innermost.scopes[reference.key] = new
        return kept

    def _end(self, key: str) -> None:
        self._ended[key] = None
        while len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    # Openings that nobody will close

    def _watch_idle(self) -> None:
        with self._lock:
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._close_idle, name="lifespan-idle", daemon=True).start()

    def _close_idle(self) -> None:
        limit = float(os.environ.get(IDLE_SECONDS_VARIABLE, IDLE_SECONDS))
        pause = threading.Event()
        while True:
            with self._lock:
                watched = [opening for opening in self._openings.values() if opening.may_be_left_alone]
                if not watched:
                    self._watching = False
                    return
            idle = [opening for opening in watched if opening.unused_since + limit <= monotonic() and opening.is_lost()]
            with self._lock:  # a task may have come meanwhile, or the end
                idle = [each for each in idle if each.may_be_left_alone and self._openings.get(each.id) is each]
                for opening in idle:
                    del self._openings[opening.id]  # it may be asked for again: then it opens anew
            _close_abandoned(idle, f"unused for {limit:g} s, and nobody said that its lifespan has ended")
            pause.wait(limit / 4)


def _close_abandoned(abandoned: Iterable[Opening], why: str) -> None:
    for opening in abandoned:
        with suppress(Exception):
            opening.close(Abandoned(why), Grace(0.0))


openings = Openings()
