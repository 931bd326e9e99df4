"""How a scope gets from where a task is submitted to the process that it runs in.

Whatever takes Prefect's context elsewhere serialises it in the submitting thread: every task runner, `task.delay()`,
`with_context`. Then a copy of the flow is sent in the flow's place, whose task runner is a scope carrier: on the other
side, Prefect enters a duplicate of that runner around the whole task run, hooks and nested runs included
(tests/contract/test_prefect_context_elsewhere.py).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from prefect.context import EngineContext
from prefect.flows import Flow

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.in_force import InForce
from prefect_lifespan.lifespans.futures import PendingFutures
from prefect_lifespan.lifespans.prefect_methods import watch
from prefect_lifespan.managers import manager
from prefect_lifespan.provider_pickling import register, sent_classes
from prefect_lifespan.scope import Scope, current_scope
from prefect_lifespan.workers.references import ScopeReference, key_of, lifespan_reference, override_reference
from prefect_lifespan.workers.remote_workers import RemoteWorkers, Runner, RunnerModule, cloudpickled, module_for
from prefect_lifespan.workers.worker_lifespan import WorkerLifespan
from prefect_lifespan.workers.worker_lifespans import worker_lifespans

T = TypeVar("T")

# Whether a task is being submitted to a runner that is watched: then its lifespans wait for it.
_submitting: ContextVar[bool] = ContextVar("prefect_lifespan_submitting", default=False)


@dataclass(frozen=True, slots=True)
class ScopeCarrier:
    """Stands for the task runner of a flow that travels: whoever enters its duplicate gets the scope into force."""

    runner: Runner
    reference: ScopeReference

    def duplicate(self) -> AbstractContextManager[Runner]:
        """What Prefect enters around a task run in another process."""
        return self._entered()

    @manager
    def _entered(self) -> Generator[Runner]:
        with worker_lifespans.holding(self.reference) as scope, scope.in_force(), self.runner.duplicate() as runner:
            module = module_for(runner)
            submitted = PendingFutures() if module is not None and module.ENDS_WITH_RUNNER else None
            watch(runner, submitted)
            yield runner
            if submitted is not None:
                submitted.wait()  # the runner ends with this task, and would drop what has not begun


@dataclass(frozen=True, slots=True)
class ThisProcess:
    """This process, as one that a lifespan has reached: a runner may bring tasks back to it.

    A container class that goes by value is pickled once for it.
    """

    lifespan: str

    @classmethod
    def of(cls, lifespan: InForce) -> ThisProcess:
        """For a lifespan of which something is about to be sent."""
        sent_classes.hold(lifespan.container, lifespan.id)
        return cls(lifespan.id)

    def ends_with(self, runner: object) -> bool:
        """It does not."""
        return False

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Wait for tasks that were brought back; the lifespan closes by itself, and tasks that come late are told so."""
        worker_lifespans.forget(self.lifespan, grace)
        sent_classes.release(self.lifespan)
        return CloseReport("", outcome)


def add_scope(context: EngineContext, serialized: dict[str, Any], scope: Scope) -> None:
    """Let a scope travel with what is sent of a run's context."""
    serialized["flow"] = _carrying(serialized["flow"], context.task_runner, scope)
    watch(context.task_runner)


def submitted(runner: Runner, submit: Callable[[], T]) -> T:
    """What `submit` returns, which submits to a watched runner."""
    module = module_for(runner)
    if module is None:
        return submit()
    token = _submitting.set(True)
    try:
        return module.submitted(runner, key_of(current_scope()), submit)
    finally:
        _submitting.reset(token)


def _carrying(flow: Flow[..., Any], runner: Runner, scope: Scope) -> Flow[..., Any]:
    """A copy of a flow that carries a scope."""
    brought = copy.copy(flow)
    own = cast("Any", flow.task_runner)
    template = own.runner if isinstance(own, ScopeCarrier) else own
    brought.task_runner = cast("Any", ScopeCarrier(template, _reference(scope, runner)))
    return brought


def _reference(scope: Scope, runner: Runner) -> ScopeReference:
    """What stands for a scope in the worker processes of a runner; made once for all that is submitted from it."""
    module = module_for(runner)
    in_force, overrides = scope.lifespans, scope.overrides
    workers = [_remote_workers(module, runner, lifespan) for lifespan in in_force]
    links = tuple(None if each is None else each.link for each in workers)
    known = (module, attached := _submitting.get())
    standing_on = (links, in_force, overrides)
    made_for, reference = scope.references.get(known, (None, None))
    if made_for != standing_on:
        register()  # classes of providers may have come since
        dumps = cloudpickled if module is None else module.dumps
        lifespans = zip(in_force, links, strict=True)
        reference = ScopeReference(
            key=key_of(scope),
            lifespans=tuple(
                lifespan_reference(lifespan, link, dumps, is_stored=not attached) for lifespan, link in lifespans
            ),
            overrides=tuple(override_reference(override, dumps, is_stored=not attached) for override in overrides),
            attached=attached,
        )
        scope.references[known] = (standing_on, reference)
    return reference


def _remote_workers(module: RunnerModule | None, runner: Runner, lifespan: InForce) -> RemoteWorkers | None:
    """How the runner's worker processes will hear of the end of a lifespan, which from now on tells them."""
    if not isinstance(lifespan, WorkerLifespan):
        worker_lifespans.remember(lifespan)
        lifespan.reach("here", lambda: ThisProcess.of(lifespan))
    if module is None:
        return None
    return cast("RemoteWorkers", lifespan.reach(module.key(runner), lambda: module.remote_workers(runner, lifespan.id)))
