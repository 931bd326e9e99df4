"""Lifespans of other processes that are in use in this one: who holds them, and what closes them.

Such a lifespan is closed by the first of these: its driver says that it has ended (with its outcome), the driver is lost,
this process ends, or it stood unused for long while nobody was going to say anything.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Generator, Iterable
from contextlib import suppress
from time import monotonic

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.forks import children
from prefect_lifespan.in_force import InForce
from prefect_lifespan.lifespans.grace import Grace
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.managers import manager
from prefect_lifespan.observability.configured import configured
from prefect_lifespan.scope import Scope
from prefect_lifespan.signal_safe import Condition, under
from prefect_lifespan.workers.references import CarriedOverride, LifespanReference, ScopeReference
from prefect_lifespan.workers.states import Life
from prefect_lifespan.workers.worker_lifespan import Abandoned, WorkerLifespan

# Ended lifespans that are remembered, so that a late task is told by name.
_REMEMBERED = 1000


class WorkerLifespans:
    """All lifespans of other processes that are in use in this one, and the scopes of its own that left it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """In this process, and in a forked child, in which nothing of its parent's is open."""
        self._lifespans: dict[str, WorkerLifespan] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._local: dict[str, InForce] = {}
        self._users_of_local: Counter[str] = Counter()
        self._changed = Condition()
        self._watching = False

    # Lifespans of this process: a task runner may bring tasks back to a thread of it.

    def remember(self, lifespan: InForce) -> None:
        """Let a lifespan of this process be found here until it ends."""
        under(self._changed, self._local.setdefault, lifespan.id, lifespan)

    def forget(self, key: str, seconds: float | None) -> None:
        """A lifespan of this process has ended: tasks that come late are told so, those that run may end before.

        Their futures do not tell when they do: Dask's count as done when they are cancelled, whatever still runs.
        """
        under(self._changed, self._forget, key, seconds)

    def _forget(self, key: str, seconds: float | None) -> None:
        self._changed.wait_for(lambda: not self._users_of_local[key], seconds)
        self._end(key)
        self._local.pop(key, None)
        del self._users_of_local[key]

    # Lifespans of other processes

    @manager
    def holding(self, reference: ScopeReference) -> Generator[Scope]:
        """The scope that a reference stands for, which stays open for the body."""
        held = under(self._changed, self._held, reference)
        try:
            yield self._scope(reference, held)
        finally:
            for lifespan in reversed(held):
                self._release(lifespan)

    def seconds_to_close(self, key: str, grace: float | None) -> float | None:
        """How long the end of a lifespan may take here; None for no limit."""
        lifespan = under(self._changed, lambda: self._lifespans.get(key))
        return 0.0 if lifespan is None else lifespan.seconds_to_close(grace)

    def end(self, key: str, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close a lifespan when the last task that holds it is done, or after `grace` seconds.

        Until then tasks of its run are let in, which others have submitted that run here or elsewhere.
        """
        left = Grace(grace)
        lifespan = under(self._changed, self._told_of_its_end, key)
        if lifespan is None:
            return CloseReport("", outcome)
        if lifespan.is_left_to_the_last_task():
            self._remove(lifespan)
            return CloseReport("", outcome)
        if outcome is not None:
            lifespan.futures.cancel_queued()
        while lifespan.wait_until_unused(left):
            if self._remove(lifespan, unless_used=True):
                break
        else:
            self._remove(lifespan)
            flow_logger().warning("Tasks still run at the end of their grace; what they use closes now")
        return lifespan.close(outcome, left)

    def _told_of_its_end(self, key: str) -> WorkerLifespan | None:
        """The lifespan that ends by this; None where it is not here, or its end has been told."""
        lifespan = self._lifespans.get(key)
        # Several may tell of one end: who ends the runner, and who ends the lifespan.
        if lifespan is None or lifespan.life is not Life.OPEN:
            self._end(key)
            return None
        lifespan.end_is_told()
        return lifespan

    def _remove(self, lifespan: WorkerLifespan, *, unless_used: bool = False) -> bool:
        """Let nobody in any more; False where somebody has come meanwhile."""
        return under(self._changed, self._removed, lifespan, unless_used=unless_used)

    def _removed(self, lifespan: WorkerLifespan, *, unless_used: bool) -> bool:
        if unless_used and lifespan.users.count:
            return False
        self._lifespans.pop(lifespan.id, None)
        self._end(lifespan.id)
        return True

    def close_all(self, terminated: bool) -> None:
        """Close everything: this process ends, in order or by a signal."""
        cut_off = Abandoned("the worker process was terminated")
        untold = Abandoned("the worker process has ended, and nobody said how its lifespan did")
        for lifespan in reversed(under(self._changed, self._all_removed)):
            with suppress(Exception):
                # In a process that ends before the lifespan does, what was to be told counts as well so far.
                lifespan.close(cut_off if terminated else None if lifespan.membership.is_told else untold, Grace(0.0))

    def _all_removed(self) -> list[WorkerLifespan]:
        remaining = list(self._lifespans.values())
        self._lifespans.clear()
        for lifespan in remaining:
            self._end(lifespan.id)
        return remaining

    def _held(self, reference: ScopeReference) -> list[InForce]:
        return [self._hold(item, reference) for item in reference.lifespans]

    def _hold(self, item: LifespanReference, scope: ScopeReference) -> InForce:
        local = self._local.get(item.id)
        if local is None:
            return self._take(item, scope)
        self._users_of_local[item.id] += 1
        return local

    def _take(self, reference: LifespanReference, scope: ScopeReference) -> WorkerLifespan:
        lifespan = self._lifespans.get(reference.id)
        if lifespan is None:
            ended = reference.id in self._ended
            lifespan = WorkerLifespan(
                reference, self.close_all, attached=scope.attached, ended=ended and scope.attached
            )
            if not ended:
                self._lifespans[reference.id] = lifespan
        membership = lifespan.membership
        membership.attached = membership.attached or scope.attached
        lifespan.users.come()
        return lifespan

    def _release(self, lifespan: InForce) -> None:
        if isinstance(lifespan, WorkerLifespan):
            self._release_other(lifespan)
            return
        under(self._changed, self._release_local, lifespan)

    def _release_local(self, lifespan: InForce) -> None:
        self._users_of_local[lifespan.id] -= 1
        self._changed.notify_all()

    def _release_other(self, lifespan: WorkerLifespan) -> None:
        if not (lifespan.users.go() and lifespan.may_be_left_alone):
            return
        if lifespan.membership.attached or lifespan.membership.is_told:
            self._watch_idle()
            return
        # Nobody waits for this task, and nobody will say that the lifespan has ended: its end is the last task's.
        if under(self._changed, self._dropped, lifespan):
            lifespan.close(None, Grace(0.0))

    def _dropped(self, lifespan: WorkerLifespan) -> bool:
        """Whether nobody uses it, and it may be asked for again: then it opens anew."""
        if lifespan.users.count:
            return False
        if self._lifespans.get(lifespan.id) is lifespan:
            del self._lifespans[lifespan.id]
        return True

    @staticmethod
    def _scope(reference: ScopeReference, held: list[InForce]) -> Scope:
        delayed = not reference.attached
        new = Scope(tuple(held), tuple(CarriedOverride(override, delayed=delayed) for override in reference.overrides))
        innermost = held[-1] if held else None
        if not isinstance(innermost, WorkerLifespan):
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

    # Lifespans that nobody will close

    def _watch_idle(self) -> None:
        if under(self._changed, self._begins_to_watch):
            threading.Thread(target=self._close_idle, name="lifespan-idle", daemon=True).start()

    def _begins_to_watch(self) -> bool:
        watching, self._watching = self._watching, True
        return not watching

    def _close_idle(self) -> None:
        limit = configured().worker_idle_seconds
        pause = threading.Event()
        while True:
            with self._changed:
                watched = [each for each in self._lifespans.values() if each.may_be_left_alone]
                if not watched:
                    self._watching = False
                    return
            idle = [
                each for each in watched if each.users.none_since + limit <= monotonic() and each.membership.is_lost()
            ]
            with self._changed:  # a task may have come meanwhile, or the end
                idle = [each for each in idle if each.may_be_left_alone and self._lifespans.get(each.id) is each]
                for lifespan in idle:
                    del self._lifespans[lifespan.id]  # it may be asked for again: then it opens anew
            _close_abandoned(idle, f"unused for {limit:g} s, and nobody said that its lifespan has ended")
            pause.wait(limit / 4)


def _close_abandoned(abandoned: Iterable[WorkerLifespan], why: str) -> None:
    for lifespan in abandoned:
        with suppress(Exception):
            lifespan.close(Abandoned(why), Grace(0.0))


worker_lifespans: WorkerLifespans = WorkerLifespans()
children.begin_with(worker_lifespans)
