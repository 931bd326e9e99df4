"""The call scope: what lives as long as one attempt of a task run, or as one outermost injected call."""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from prefect_lifespan.engine import Engine, Observer, Options, logging_to
from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.engine.part import standing_alone, with_more
from prefect_lifespan.graph import Node
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.lifetimes import Lifetime, Policy
from prefect_lifespan.run_context import run_context
from prefect_lifespan.signal_safe import under

# For a container that no lifespan is open for.
DEFAULT_POLICY = Policy(close_timeout_seconds=30.0, retries=0, retry_delay_seconds=1.0, on_close_error="raise")


class Overriding(Protocol):
    """What is overridden where a container has an engine of its own: a scope."""

    @property
    def overrides(self) -> tuple[object, ...]:
        """The overrides in force."""
        ...

    def overrides_for(self, container: ContainerClass) -> Mapping[int, Any]:
        """Those of a container, by the identity of what they override."""
        ...


def log_of_this_run() -> Observer:
    """An observer that writes to the log of the run that the caller is in."""
    return logging_to(run_context.logger())


class _Engines(dict[object, Engine]):
    """Those of one call scope, for whoever works in it; of a container that no lifespan is open for, the one with most in it."""

    ended = False

    def __init__(self) -> None:
        super().__init__()
        self.alone: dict[object, Engine] = {}


class CallScope:
    """One attempt of a task run, or one outermost injected call where there is no task run, and its engines.

    It holds what lives no longer than that: task resources, what another event loop needs a copy of, and containers
    that no lifespan is open for. Helpers called inside share it.
    """

    def __init__(self, attempt: Hashable | None) -> None:
        self.attempt = attempt
        self._engines = _Engines()
        self._lock = threading.Lock()
        # For a function the values of its parameters, where some are this call scope's own, as a scope keeps others.
        self.kept: dict[str, tuple[Any, ...] | Callable[[], tuple[Any, ...] | None]] = {}

    def for_attempt(self, attempt: Hashable | None) -> CallScope:
        """The same call scope for a caller in another attempt, or in none, who was handed what belongs to this one."""
        call_scope = copy.copy(self)
        call_scope.attempt, call_scope.kept = attempt, {}
        return call_scope

    def withdraw(self) -> None:
        """Give nothing any more of what is kept."""
        self.kept = {}

    def derived(self, base: Engine, where: str, loop: asyncio.AbstractEventLoop | None) -> Engine:
        """This call scope's view of an engine in force: task resources, and resources bound to another loop, are its own."""

        def affected(node: Node) -> bool:
            if node.lifetime is Lifetime.TASK:
                return True
            return loop is not None and node.is_resource and bool(base.slots_on_other_loop([node.key], loop))

        def made() -> Engine:
            engine = self._engines.get(base)
            if engine is None:
                engine = self._engines[base] = base.derive(affected, name=where, loop=loop, log=log_of_this_run())
                self._admit(engine)
            return engine

        return under(self._lock, made)

    def standing_alone(
        self,
        container: ContainerClass,
        asked: frozenset[int],
        scope: Overriding,
        where: str,
        loop: asyncio.AbstractEventLoop | None,
    ) -> Engine:
        """An engine for a container that no lifespan is open for, with what is asked for; all those of a container share."""
        key = (container, scope.overrides)

        def made() -> Engine:
            known = self._engines.alone.get(key)
            if known is None:
                overrides = scope.overrides_for(container)
                options = Options(DEFAULT_POLICY, log=log_of_this_run())
                engine = standing_alone(container, asked, name=where, options=options, overrides=overrides, loop=loop)
            else:
                engine = with_more(known, asked, name=where)
            if engine is not known:
                self._engines[known, key] = self._engines.alone[key] = engine
                self._admit(engine)
            return engine

        return under(self._lock, made)

    def _admit(self, engine: Engine) -> None:
        engine.serves_tasks = True
        if self._engines.ended:
            engine.close()  # what is its own is refused from now on, and what it shares goes on

    def has(self, container: ContainerClass, scope: Overriding) -> bool:
        """Whether a container has an engine of its own here already."""
        return (container, scope.overrides) in self._engines.alone

    def view_of(self, base: Engine, where: str) -> Engine:
        """An engine in force with this call scope's task resources in it; that engine itself, where it declares none."""
        if base.graph.has_task_resources and not self.owns(base):
            return self.derived(base, where, running_loop())
        return self._engines.get(base, base)

    def owns(self, engine: Engine) -> bool:
        """Whether an engine lives in this call scope."""
        return engine in self._engines.values()

    def end(self) -> list[Engine]:
        """Take no more engines from now on; those that it has, in the order of closing: last made first."""
        under(self._lock, self._end)
        return list(reversed(self._engines.values()))

    def _end(self) -> None:
        self._engines.ended = True
