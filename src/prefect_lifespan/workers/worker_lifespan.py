"""One lifespan of another process, as this worker process has it: opened when first needed, held by tasks, closed once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from contextvars import Context
from time import monotonic

from prefect_lifespan.engine import CloseReport, Engine, Event, Options, State, process_engines
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.errors import LifespanError
from prefect_lifespan.in_force import InForce, Reached
from prefect_lifespan.lifespans.futures import PendingFutures
from prefect_lifespan.lifespans.grace import Grace
from prefect_lifespan.lifespans.prefect_run import context_of_the_run
from prefect_lifespan.scope import Scope
from prefect_lifespan.signal_safe import Condition, under
from prefect_lifespan.workers.kept_events import KeptEvents
from prefect_lifespan.workers.membership import Membership
from prefect_lifespan.workers.process_end import Close
from prefect_lifespan.workers.references import CarriedOverride, LifespanReference, OverrideReference, Parts
from prefect_lifespan.workers.states import Life, Notice


class Abandoned(LifespanError):
    """The outcome of a lifespan whose driver is gone: nobody can say how it ended, so it is not a success."""


class Users:
    """The tasks of this process that may use a lifespan, and since when there is none."""

    def __init__(self) -> None:
        self.count: int = 0
        self.none_since: float = monotonic()
        self._changed = Condition()

    def come(self) -> None:
        """A task begins that may use it."""
        under(self._changed, self._come)

    def _come(self) -> None:
        self.count += 1

    def go(self) -> bool:
        """A task that might use it has ended; whether it was the last one. One of two that end at once is the last."""
        return under(self._changed, self._go)

    def _go(self) -> bool:
        self.count -= 1
        self.none_since = monotonic()
        self._changed.notify_all()
        return self.count == 0

    def wait_for_none(self, seconds: float | None) -> bool:
        """Wait for the last task; False when the time ran out."""
        return under(self._changed, lambda: self._changed.wait_for(lambda: self.count == 0, seconds))


class WorkerLifespan(InForce):
    """A lifespan of another process, in this one.

    `attached` says whether the lifespan waits for the task that brings it; `ended` that this process knows already that it
    is over; `at_end` is called when this process ends.
    """

    def __init__(self, reference: LifespanReference, at_end: Close, *, attached: bool, ended: bool) -> None:
        overrides = tuple(CarriedOverride(OverrideReference(override, b"")) for override in reference.overrides)
        self.futures: PendingFutures = PendingFutures()  # of tasks that tasks here have submitted
        super().__init__(self._make_engine, overrides, self.futures, opening=reference.id, logger=reference.logger)
        self.reference = reference
        self.life: Life = Life.OPEN
        self.membership: Membership = Membership(reference, at_end, attached=attached, ended=ended)
        self.users: Users = Users()
        self.scopes: dict[str, Scope] = {}
        self._delayed = not attached
        self._made: Engine | None = None
        self._kept = KeptEvents(observed=reference.observed, uses=reference.uses)
        self._context = Context()  # of what opened it first, which knows the run and the API
        self._making = threading.Lock()

    @property
    def may_be_left_alone(self) -> bool:
        """Whether something was opened here that no task uses, and of which perhaps nobody will say when to close it."""
        return self.users.count == 0 and self.is_in_use and self.membership.is_unsure

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, here or where tasks went on to."""
        return self._made is not None or bool(self.elsewhere())

    @property
    def has_ended(self) -> bool:
        """Whether its closing has begun, or had before anything was opened here."""
        return self.life is Life.CLOSED or self.membership.notice is Notice.TOO_LATE

    def reach(self, key: Hashable, make: Callable[[], Reached]) -> Reached:
        """The other processes that it has reached from here: they hear of its end through this one."""
        self._ask_for_notice()
        reached = super().reach(key, make)
        if self.has_ended:
            reached.close(Abandoned("the lifespan has ended"), 0.0)
        return reached

    def _ask_for_notice(self) -> None:
        if self.life is not Life.CLOSED:
            self.membership.ask_for_notice()

    def _make_engine(self) -> Engine:
        return under(self._making, self._engine_made)

    def _engine_made(self) -> Engine:
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
        engine.schedule.home_thread = None
        self._kept.begin(engine)
        self._ask_for_notice()
        if self.has_ended:
            engine.close()  # what is asked of it says that its lifespan has ended, and names both
        else:
            process_engines.enter(engine.process_keys, self)
        return engine

    def end_is_told(self) -> None:
        """Whoever the lifespan belongs to says that it is over."""
        self.life = self.life.then(Life.ENDING, self.reference.run)

    def is_left_to_the_last_task(self) -> bool:
        """Whether tasks use it that nobody waits for; the last of them closes it."""
        if self.membership.attached or not self.users.count:
            return False
        self.membership.resign()
        return True

    def wait_until_unused(self, grace: Grace) -> bool:
        """Wait for the last task, and for those that tasks here have submitted; False when the time ran out."""
        unused = self.users.wait_for_none(grace.left)
        return self.futures.wait(grace.left, is_last=False) and unused

    def seconds_to_close(self, grace: float | None) -> float | None:
        """How long closing here may take, by the limits of what is open; None for no limit."""
        engine = under(self._making, lambda: self._made)
        if engine is None:
            return None if self.elsewhere() else 0.0
        slots = {slot for each in (engine, *engine.dependents.lasting) for slot in each.slots.values()}
        limits = [slot.policy.close_timeout_seconds for slot in slots if slot.state is not State.PENDING]
        # Of what was reached from here, and of tasks that may run as long as they like, nothing is known.
        if self.elsewhere() or None in limits or (grace is None and self.users.count):
            return None
        return sum(limit for limit in limits if limit is not None) + (grace or 0.0)

    def _ended(self) -> Engine | None:
        self.life = self.life.then(Life.CLOSED, self.reference.run)
        return self._made

    def close(self, outcome: Outcome, grace: Grace) -> CloseReport:
        """Close what was opened here, and before it what was reached from here."""
        engine = under(self._making, self._ended)
        report = CloseReport(self.reference.run, outcome)
        for reached in self.elsewhere():
            report.merge(reached.close(report.told, grace.left))
        if engine is not None:
            self.let_nobody_in()
            self.futures.wait(grace.left)  # for calls of threads that have outlived their tasks
            # What closes it is no task, and has neither.
            report.merge(self._context.copy().run(engine.close, report.told))
            link = self.reference.link
            closing = link is not None and link.is_last_word
            for ended in process_engines.leave(engine.process_keys, self, closing=closing):
                report.merge(self._context.copy().run(ended.close, report.told))
                process_engines.forget(ended)
        self._kept.into(report)
        self.membership.say_farewell(report)
        return report
