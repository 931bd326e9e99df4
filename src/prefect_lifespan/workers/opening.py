"""One lifespan of another process, as this one has it: opened when first needed, held by tasks, closed once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from contextvars import Context
from time import monotonic

from prefect_lifespan.engine import CloseReport, Engine, Event, Options, process_engines
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.slot import State
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.lifespans.futures import PendingFutures
from prefect_lifespan.lifespans.prefect_run import context_of_the_run
from prefect_lifespan.lifespans.session import Grace
from prefect_lifespan.scope import InForce, Reached, Scope
from prefect_lifespan.workers.exits import Close, at_exit
from prefect_lifespan.workers.kept_events import KeptEvents
from prefect_lifespan.workers.reach import HasEnded, Joined
from prefect_lifespan.workers.references import BroughtLayer, LayerReference, LifespanReference, Parts


class Abandoned(LifespanError):
    """The outcome of a lifespan whose driver is gone: nobody can say how it ended, so it is not a success."""


class Membership:
    """This process's part in a lifespan of another one, which it joins when it opens something, or passes it on."""

    def __init__(self, reference: LifespanReference, at_end: Close, *, attached: bool, ended: bool) -> None:
        self.attached = attached  # whether the lifespan waits for a task here
        self.ended = ended
        self.joined: Joined | None = None
        self._reference = reference
        self._at_end = at_end
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
            at_exit(self._at_end)

    def resign(self) -> None:
        """Be told no more: what is open here is closed otherwise."""
        with self._lock:
            joined, self.joined = self.joined, None
        if joined is not None:
            joined.farewell(CloseReport("", None))


class Opening(InForce):
    """A lifespan of another process, in this one; `at_end` is what is called when this process ends."""

    def __init__(self, reference: LifespanReference, at_end: Close, *, attached: bool, ended: bool) -> None:
        layers = tuple(BroughtLayer(LayerReference(layer, b"")) for layer in reference.layers)
        self.futures = PendingFutures()  # of tasks that tasks here have submitted
        super().__init__(self._make_engine, layers, self.futures, opening=reference.id, logger=reference.logger)
        self.membership = Membership(reference, at_end, attached=attached, ended=ended)
        self._delayed = not attached
        self.users = 0
        self.is_ending = False  # its lifespan is over, and it waits for the last task
        self.scopes: dict[str, Scope] = {}
        self.unused_since = monotonic()
        self.reference = reference
        self._made: Engine | None = None
        self._kept = KeptEvents(observed=reference.observed, uses=reference.uses)
        self._context = Context()  # of what opened it first, which knows the run and the API
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
    def has_ended(self) -> bool:
        """Whether its closing has begun."""
        return self.membership.ended

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
        context, pid = context_of_the_run(), os.getpid()
        self._context = context

        def log(event: Event) -> None:
            # What closes it is no task, and would not know the API that Prefect's settings name.
            line, newline, traceback = event.text.partition("\n")
            told = (event.level, "%s in worker process %d%s", line, pid, newline + traceback)
            context.copy().run(self.logger.log, *told)

        engine = Engine.of(
            parts.container,
            name=reference.run,
            options=Options(parts.policy, parts.max_workers, self._kept.observers, log=log),
            overrides=parts.by_key,
        )
        engine.ledger.home_thread = None
        self._kept.begin(engine)
        self.membership.join()
        if self.membership.ended:
            engine.close()  # what is asked of it says that its lifespan has ended, and names both
        else:
            process_engines.enter(engine.process_keys, self)
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
            report.merge(reached.close(report.told, grace.left))
        if engine is not None:
            # What closes it is no task, and has neither.
            report.merge(self._context.copy().run(engine.close, report.told))
            link = self.reference.link
            closing = link is not None and link.is_last_word
            for ended in process_engines.leave(engine.process_keys, self, closing=closing):
                report.merge(self._context.copy().run(ended.close, report.told))
                process_engines.forget(ended)
        self._kept.into(report)
        if self.membership.joined is not None:
            self.membership.joined.farewell(report)
        return report
