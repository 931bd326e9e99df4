"""One container instance and its resources: opens what is asked for, closes what it opened.

An engine may stand on another one: it then has its own copies of some providers and shares all others, with their open
resources, with its parent. That is how a run's container gets a view for a task, for a call or for an override.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from dependency_injector import containers
from dependency_injector.wiring import Modifier

from prefect_lifespan.engine import blocking
from prefect_lifespan.engine.awaited import offer_awaited_calls
from prefect_lifespan.engine.awaiting import cancelled
from prefect_lifespan.engine.calls import ContainerCalls
from prefect_lifespan.engine.dependents import Dependents
from prefect_lifespan.engine.events import Observer
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.engine.instance import (
    Instances,
    instantiate,
    made_of_class,
    made_of_parent,
    made_of_part,
    with_choices,
    withhold_singletons,
)
from prefect_lifespan.engine.loops import current_task_on, running_loop
from prefect_lifespan.engine.managed import ManagedResource
from prefect_lifespan.engine.on_loop import aclose_all, open_on_loop
from prefect_lifespan.engine.opening import opening_for
from prefect_lifespan.engine.options import Options, Overrides
from prefect_lifespan.engine.persistence import apersist
from prefect_lifespan.engine.process import process_engines
from prefect_lifespan.engine.resolving import Resolver
from prefect_lifespan.engine.schedule.report import CloseReport
from prefect_lifespan.engine.schedule.states import State
from prefect_lifespan.engine.settings_first import SettingsFirst
from prefect_lifespan.engine.sharing import aopen_shared, shared_slots
from prefect_lifespan.engine.signals import held_signals
from prefect_lifespan.engine.slot import SharedSchedule, Slot
from prefect_lifespan.errors import AsyncResourceError, InvalidContainerError, LifespanError
from prefect_lifespan.forks import children
from prefect_lifespan.graph import Graph, Node, findings, graph_of, read
from prefect_lifespan.graph.anchors import anchor_of, key_of_path
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.lifetimes import Lifetime
from prefect_lifespan.signal_safe import awaited_within, under


class Engine:
    """Opens and closes the resources of one container instance; made by `Engine.of` and `derive`."""

    def __init__(
        self,
        container: ContainerClass,
        graph: Graph,
        *,
        name: str,
        options: Options,
        overrides: Overrides,
        loop: asyncio.AbstractEventLoop | None,
        parent: Engine | None = None,
    ) -> None:
        self.container_class = container
        self.graph: Graph = graph
        self.options = options
        self.overrides = overrides
        self.parent = parent
        self.whole: Graph | None = None  # what its graph is a part of, where it has no container instance
        self.slots: dict[int, Slot] = {} if parent is None else dict(parent.slots)
        self.instances: Instances = {}
        self._instance: containers.DynamicContainer | None = None
        self.dependents: Dependents[Engine] = Dependents()
        self.process_keys: set[Hashable] = set()
        self.serves_tasks = False  # whether what lives as long as a task may be opened here
        self.schedule: SharedSchedule = SharedSchedule(
            graph.container,
            name,
            defaults=options.defaults,
            max_workers=options.max_workers,
            told=options.told,
            loop=loop,
            above=None if parent is None else parent.schedule,
        )
        inherited = parent is not None and parent.schedule.loop is loop
        self.schedule.owner = parent.schedule.owner if parent is not None and inherited else current_task_on(loop)
        self._closing: tuple[object, CloseReport] | None = None  # under way, by whom
        self.calls: ContainerCalls = ContainerCalls(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolver = Resolver(self)
        self.settings: SettingsFirst = SettingsFirst(self)
        self._lock = threading.Lock()
        # Held while something is made for the first time: one lock for all who share it.
        self.making: threading.RLock = threading.RLock() if parent is None else parent.making
        children.begin_with(self)

    @classmethod
    def of(
        cls,
        container: ContainerClass,
        *,
        name: str,
        options: Options,
        overrides: Overrides | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        of_a_run: bool = True,
        on_process_loop: bool = False,
    ) -> Engine:
        """An engine for a new instance of `container`; nothing is open yet.

        `overrides` replace providers of the class by identity. Asynchronous resources may be opened on `loop`. The
        resources of the process are shared with every other engine, but for one that is not `of_a_run`: it is theirs. One
        `on_process_loop` is of the asynchronous ones among them.

        Raises:
            InvalidContainerError: the container cannot be opened as it is declared and overridden.
        """
        graph = read(container, overrides) if overrides else graph_of(container)
        # The process's own is asked for what a run shares, whose findings are the run's: another run may provide the rest.
        if of_a_run and findings(graph):
            raise InvalidContainerError(graph.container, findings(graph, copying=True))
        engine = cls(container, graph, name=name, options=options, overrides=overrides or {}, loop=loop)
        try:
            engine._become_an_instance(of_a_run=of_a_run, on_process_loop=on_process_loop)
        except BaseException:
            process_engines.release(engine.process_keys, engine)
            raise
        return engine

    def _become_an_instance(self, *, of_a_run: bool, on_process_loop: bool) -> None:
        if of_a_run or on_process_loop:
            self.slots |= shared_slots(self, Engine.of, asynchronous=of_a_run)
        shared = {key: slot.provider for key, slot in self.slots.items()}
        made = made_of_class(self.container_class, self.graph, self.overrides, self._manage, shared)
        self.instances, self._instance = made
        self.graph = with_choices(self.graph, self.instances)
        self._offer_safe_calls(self._instance)

    def become_a_part(self, whole: Graph | None) -> None:
        """Have the part of a container that its graph is; what it stands on has some of that already."""
        self.whole = whole
        self.slots |= shared_slots(self, Engine.of, asynchronous=True)
        shared = {} if self.parent is None else self.parent.instances
        shared = {**shared, **{key: slot.provider for key, slot in self.slots.items()}}
        self.instances = made_of_part(self.container_class, self.graph, self.overrides, self._manage, shared)
        self.graph = with_choices(self.graph, self.instances)

    def derive(
        self,
        affected: Callable[[Node], bool],
        *,
        name: str,
        lasts: bool = False,
        overrides: Overrides | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        log: Observer | None = None,
    ) -> Engine:
        """An engine with copies of its own of every provider that reaches an `affected` or a newly overridden one.

        It closes with this one if it `lasts`, and before that by its maker otherwise; it tells `log`, or this one's.
        """
        new = overrides or {}
        combined = {**self.overrides, **new}
        graph = read(self.container_class, combined) if new else self.graph
        if new and findings(graph):
            raise InvalidContainerError(graph.container, findings(graph, copying=True))
        options = self.options if log is None else replace(self.options, log=log)
        child = Engine(
            self.container_class, graph, name=name, options=options, overrides=combined, loop=loop, parent=self
        )
        child.instances = made_of_parent(graph, self.instances, affected, new, child._manage)
        child.graph = with_choices(graph, child.instances)
        child.serves_tasks = self.serves_tasks
        self.dependents.add(child, lasts=lasts)
        return child

    # The container instance, and what markers name in it

    @property
    def instance(self) -> containers.DynamicContainer:
        """The container instance; of an engine that stands on another one, made of its own providers when asked for."""
        return under(self._lock, self._made_instance)

    def _made_instance(self) -> containers.DynamicContainer:
        if self._instance is None:
            instance = instantiate(self.container_class, dict(self.instances))
            self._offer_safe_calls(instance)
            self._instance = instance
        return self._instance

    def _offer_safe_calls(self, instance: containers.DynamicContainer) -> None:
        # On the instance they shadow dependency-injector's own, which lose resources, order and outcome.
        instance.init_resources = self.calls.init_resources
        instance.shutdown_resources = self.calls.shutdown_resources
        offer_awaited_calls(instance, self)

    def resolve(self, provider: AnyProvider | str, modifier: Modifier | None = None) -> AnyProvider | None:
        """This engine's provider for what a marker names; None where the container has no such one."""
        return self._resolver.resolve(provider, modifier)

    def keys_of(self, provider: AnyProvider | str) -> tuple[int, ...]:
        """The declared provider that a marker's provider stands on; none for the container itself."""
        key = key_of_path(self.graph, provider) if isinstance(provider, str) else id(anchor_of(provider))
        return (key,) if key is not None and key in self.graph.nodes else ()

    # Opening

    def eager(self, keys: Iterable[int] | None = None) -> list[Slot]:
        """What an eager opening opens: all resources of the run that are in use; or what `keys` need, the process's too."""
        if keys is None:
            return list(map(self.slots.__getitem__, self.graph.opened_eagerly))
        return list(self.needed(node.key for node in self.graph.needed(keys) if node.lifetime is not Lifetime.TASK))

    def needed(self, keys: Iterable[int]) -> tuple[Slot, ...]:
        """The resources that the providers of `keys` need, dependencies first."""
        return tuple(self.slots[node.key] for node in self.graph.needed(keys))

    def open_slots(self) -> list[Slot]:
        """The resources of its own that are open, in the order of their opening."""
        return [slot for slot in self.slots.values() if slot.schedule is self.schedule and slot.state is State.OPEN]

    def slots_on_other_loop(self, keys: Iterable[int], loop: asyncio.AbstractEventLoop) -> list[Slot]:
        """Of the resources that `keys` need, those that `loop` cannot use as they are.

        They belong to another event loop; or they are bound to none, but not open yet, and open only on that one.
        """
        return [
            slot
            for slot in self.needed(keys)
            if slot.asynchronous
            and slot.schedule.loop is not loop
            and (slot.policy.loop_bound or slot.state is State.PENDING)
        ]

    def open(
        self, slots: Sequence[Slot], where: str, *, asked: Sequence[int] = (), in_callers_context: bool = False
    ) -> None:
        """Open slots, dependencies first as they come, without an event loop.

        `asked` are the declared providers that `where` names itself, for the note on a failure: it tells the way from them.
        `in_callers_context` is for the one that closes it too, the one that opens the lifespan or the call: context
        variables that initialisers of this engine's own resources set are then set for the body.

        Raises:
            AsyncResourceError: some are asynchronous and not open; nothing has been opened.
            LifespanClosedError: the lifespan has ended.
            Exception: an initialiser's own, with a note of what it opened for whom.
        """
        self._refuse_task_resources(slots)
        asynchronous = [slot.path for slot in slots if slot.node.is_async and slot.state is State.PENDING]
        if asynchronous and not self.schedule.ended:
            raise AsyncResourceError(asynchronous, where, on_loop=running_loop() is not None)
        self.settings.make(slots, asked)
        with opening_for(self.graph, slots, where, asked):
            # Not at first use in the thread of an event loop, which may be what another one of these openings waits for.
            opens_lifespan = in_callers_context and self.parent is None
            if self.schedule.max_workers > 1 and (opens_lifespan or running_loop() is None):
                blocking.open_in_threads(self.schedule, slots, self.needs, where)
            else:
                blocking.open_in_order(slots, where, in_callers_context=self.schedule if in_callers_context else None)

    async def aopen(
        self, slots: Sequence[Slot], where: str, *, asked: Sequence[int] = (), in_callers_context: bool = False
    ) -> None:
        """Open slots from a coroutine; raises the same.

        Cancelling the caller does not cancel an opening that others may wait for, unless it is the one that opens the
        lifespan (`in_callers_context`).
        """
        self._refuse_task_resources(slots)
        await self.settings.amake(slots, asked)
        inherited = [slot for slot in slots if slot.schedule is not self.schedule and slot.state is not State.OPEN]
        if inherited and self.parent is not None:
            await self.parent.aopen(inherited, where, asked=asked)
        elif inherited:
            await aopen_shared(self, inherited, where, asked)
        own = [slot for slot in slots if slot.schedule is self.schedule and slot.state is not State.OPEN]
        if not own:
            return
        with opening_for(self.graph, own, where, asked):
            if self.schedule.loop is not asyncio.get_running_loop():
                await asyncio.to_thread(self.open, own, where, asked=asked)
            elif in_callers_context:
                await open_on_loop(self.schedule, own, self.needs, in_callers_context=True)
            else:
                await asyncio.shield(
                    self._spawn(open_on_loop(self.schedule, own, self.needs, in_callers_context=False))
                )

    def _refuse_task_resources(self, slots: Iterable[Slot]) -> None:
        """Here they would live as long as a run, and be shared by its tasks."""
        for slot in slots:
            if slot.node.lifetime is Lifetime.TASK and not self.serves_tasks:
                raise LifespanError(
                    f"{slot.path} is a {type(slot.node.provider).__name__}: it lives as long as a task run or an injected call, and the "
                    "container of a whole run cannot hand it out; take it as a parameter under prefect_lifespan's @inject"
                )

    def demand(self, slot: Slot) -> None:
        """Open what was asked for by calling its provider, and what it needs."""
        self.open(self.needed([slot.node.key]), f"a call of {slot.path}")

    def needs(self, slot: Slot) -> list[Slot]:
        """The resources that a slot needs directly."""
        return list(map(self.slots.__getitem__, self.graph.direct.get(slot.node.key, ())))

    # Closing

    def close(self, outcome: Outcome = None) -> CloseReport:
        """Close everything that this engine and those derived from it opened, last opened first.

        The report holds what failed, and `settle` says what of it the caller is to see. Where a signal interrupts it
        between two steps, calling it again in the same thread goes on where it was.
        """
        report = self._report_of(threading.get_ident(), outcome)
        for engine, told in self.dependents.to_close(report):
            report.merge(engine.close(told))
        blocking.close_all(self.schedule, self.needs, report)
        self._end()
        return self._reported(report)

    async def aclose(self, outcome: Outcome = None) -> CloseReport:
        """Close from a coroutine on the engine's event loop; a cancellation of the caller waits until all is done."""
        report = self._report_of(asyncio.current_task(), outcome)
        await awaited_within(held_signals.back(), lambda _: self._aclose(report))
        return self._reported(report)

    async def _aclose(self, report: CloseReport) -> None:
        for engine, told in self.dependents.to_close(report):
            report.merge(await engine.aclose(told))
        self.schedule.end(report)  # first: what begins to open while this waits would not be cancelled
        # They leave the set as they end, and one may before it is waited for.
        await cancelled([*self._tasks], report.interrupted)
        await apersist(report, lambda: aclose_all(self.schedule, self.needs, report))
        self._end()

    def begin_anew(self) -> None:
        """In a forked child: all that it has is the parent's, which goes on with it."""
        self._lock, self.making, self._closing = threading.Lock(), threading.RLock(), None
        self._tasks.clear()
        self.schedule.begin_anew(self.slots.values())
        self.withhold_singletons()

    def settle_interrupted(self, error: BaseException) -> None:
        """Let nobody wait for an opening that `error` has taken this thread out of, here or in what stands on it."""
        for slot in self.schedule.interrupted_here():
            blocking.settle(slot, error)
        for engine in self.dependents.all():
            engine.settle_interrupted(error)

    def _report_of(self, closer: object, outcome: Outcome) -> CloseReport:
        """The report of the closing that this closer has begun and was interrupted in; else a new one."""
        if self._closing is None or self._closing[0] != closer:
            self._closing = closer, CloseReport(self.graph.container, outcome)
        return self._closing[1]

    def _reported(self, report: CloseReport) -> CloseReport:
        self._closing = None
        return report

    def _end(self) -> None:
        """Nothing is open any more: its singletons are not given again, and what it stands on forgets it."""
        process_engines.release(self.process_keys, self)
        if self.parent is not None:
            self.parent.dependents.closed(self)
        self.withhold_singletons()

    def withhold_singletons(self) -> None:
        """Let singletons that were made of what has closed say so, here and in what stands on it."""
        others: Instances = {} if self.parent is None else self.parent.instances
        nodes = self.graph.nodes
        own = {k: i for k, i in self.instances.items() if i is not nodes[k].provider and i is not others.get(k)}
        withhold_singletons(self.graph, own, self.slots)
        for engine in self.dependents.all():
            engine.withhold_singletons()

    def _manage(self, node: Node) -> ManagedResource:
        managed = ManagedResource(self)
        managed.slot = self.slots[node.key] = Slot(node, self.schedule, managed)
        return managed

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` as a task that outlives a cancelled caller, and that closing waits for."""
        self._tasks.add(task := asyncio.get_running_loop().create_task(work))  # at once: closing has to know it
        task.add_done_callback(self._tasks.discard)
        # Gathered: that asks for an error which nobody else does where all that waited were cancelled. The log has it.
        asyncio.gather(task, return_exceptions=True)
        return task
