"""What stands for a scope in another process: which lifespans it holds, how to hear of their end, what to make them of.

Never a live object. The container goes by its import path, or by value where it stands in `__main__` or a notebook;
overrides go as they are.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from dependency_injector import providers

from prefect_lifespan.engine import Engine
from prefect_lifespan.engine.events import Logger
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.edges import SUB_CONTAINERS, AnyProvider, overriding_of
from prefect_lifespan.graph.reader import ContainerClass, is_given, qualified_name
from prefect_lifespan.in_force import InForce
from prefect_lifespan.lifetimes import Policy
from prefect_lifespan.overrides import EnteredOverride, next_number
from prefect_lifespan.provider_pickling.classes_by_value import as_declared_here
from prefect_lifespan.scope import Scope
from prefect_lifespan.workers.remote_workers import Dumps, Link
from prefect_lifespan.workers.stored_secrets import secret_in


@dataclass(frozen=True, slots=True)
class OverrideReference:
    """An override that is in force."""

    id: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LifespanReference:
    """An open lifespan; `overrides` are the overrides that were in force around it when it opened.

    `logger` is that of its own run: what opens it in another process may be a subflow.
    """

    id: str
    run: str
    logger: Logger
    link: Link | None
    overrides: tuple[str, ...]
    payload: bytes = field(repr=False)
    observed: bool = False  # whether somebody here hears of what opens and closes there
    uses: bool = False  # and of who uses it


@dataclass(frozen=True, slots=True)
class ScopeReference:
    """A scope. An `attached` one belongs to a task that its lifespans wait for, so that it ends before they do."""

    key: str
    lifespans: tuple[LifespanReference, ...]
    overrides: tuple[OverrideReference, ...]
    attached: bool


class CarriedOverride(EnteredOverride):
    """An override that came from another process; what it holds is unpickled when it is first asked for."""

    def __init__(self, reference: OverrideReference, *, delayed: bool = False) -> None:
        self.id: str = reference.id
        self.owner: object = None
        self.everywhere = False
        self.number: int = next_number()
        self.reference = reference
        self._delayed = delayed

    @cached_property
    def _parts(self) -> tuple[ContainerClass, Mapping[str, AnyProvider]]:
        container, by_path = pickle.loads(self.reference.payload)  # noqa: S301 - made by the run that this process works for
        return (as_declared_here(container) if self._delayed else container), by_path

    @property
    def container(self) -> ContainerClass:
        return self._parts[0]

    @property
    def by_path(self) -> Mapping[str, AnyProvider]:
        return self._parts[1]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a lifespan is made of in another process; the overrides include those that were in force around it."""

    container: ContainerClass
    policy: Policy
    max_workers: int
    overrides: Mapping[str, AnyProvider]

    @classmethod
    def of(cls, in_force: InForce) -> Parts:
        """Those of an open lifespan."""
        engine = in_force.engine
        overrides = {
            path: overriding for path, key in engine.graph.by_path.items() if (overriding := _overriding(engine, key))
        }
        options = engine.options
        return cls(engine.container_class, options.defaults, options.max_workers, overrides)

    @property
    def by_key(self) -> Mapping[int, AnyProvider]:
        """The overrides by the identity of what they override in this process."""
        for path in self.overrides.keys() - graph_of(self.container).by_path.keys():
            first, *inner = path.split(".")
            # What a `DependenciesContainer` lacks was added in the other process when the whole of it was overridden.
            functools.reduce(getattr, inner, self.container.providers[first])
        keys = graph_of(self.container).by_path
        return {keys[path]: provider for path, provider in self.overrides.items()}

    @staticmethod
    def loaded(payload: bytes, *, delayed: bool) -> Parts:
        """The parts from bytes; a task that was delayed is this process's own, and did not come with them."""
        parts: Parts = pickle.loads(payload)  # noqa: S301 - made by the run that this process works for
        return replace(parts, container=as_declared_here(parts.container)) if delayed else parts


def _overriding(engine: Engine, key: int) -> AnyProvider | None:
    """What overrides a provider for a lifespan, or on its class: a class that goes by its import path goes without."""
    declared = engine.graph.nodes[key].provider
    if key in engine.overrides or isinstance(declared, SUB_CONTAINERS):
        return engine.overrides.get(key)  # sub-containers are overridden provider by provider
    overriding = overriding_of(declared)
    if overriding is None or not isinstance(declared, providers.Dependency):
        return overriding
    return None if is_given(engine.container_class, overriding) else overriding


def lifespan_reference(lifespan: InForce, link: Link | None, dumps: Dumps, *, is_stored: bool) -> LifespanReference:
    """What stands for a lifespan; one that came from another process goes on as it came, with a link to this one.

    Raises:
        UsageError: what it is made of cannot be pickled, or holds a secret where the reference is to be stored.
    """
    came_as = getattr(lifespan, "reference", None)
    if isinstance(came_as, LifespanReference):
        if is_stored:
            parts = Parts.loaded(came_as.payload, delayed=False)
            refuse_secrets(parts, parts.container, parts.overrides)
        return replace(came_as, link=link)
    parts = Parts.of(lifespan)
    if is_stored:
        refuse_secrets(parts, parts.container, parts.overrides)
    return LifespanReference(
        id=lifespan.id,
        run=lifespan.engine.schedule.name,
        logger=lifespan.logger,
        link=link,
        overrides=tuple(override.id for override in lifespan.overrides),
        payload=dumped(parts, parts.container, parts.overrides, dumps),
        observed=bool(lifespan.engine.options.observers),
        uses=lifespan.engine.options.observers.hear_uses,
    )


def override_reference(override: EnteredOverride, dumps: Dumps, *, is_stored: bool) -> OverrideReference:
    """What stands for an override.

    Raises:
        UsageError: it cannot be pickled, or holds a secret where the reference is to be stored.
    """
    if is_stored:
        refuse_secrets((override.container, dict(override.by_path)), override.container, override.by_path)
    if isinstance(override, CarriedOverride):
        return override.reference
    parts = (override.container, dict(override.by_path))
    return OverrideReference(override.id, dumped(parts, override.container, override.by_path, dumps))


def key_of(scope: Scope) -> str:
    """What tells a scope from all others, in any process."""
    return "/".join([*(lifespan.id for lifespan in scope.lifespans), *(override.id for override in scope.overrides)])


def refuse_secrets(parts: object, container: ContainerClass, overrides: Mapping[str, AnyProvider]) -> None:
    """See to it that no secret gets into Prefect's result storage, where it stays, for whoever can read that.

    Raises:
        UsageError: there is one in what would be stored; an override, where one is the cause, by its path.
    """
    kind = secret_in(parts)
    if kind is None:
        return
    name = qualified_name(container)
    path = next((path for path, provider in overrides.items() if secret_in(provider)), None)
    what = name if path is None else f"the override of {name}.{path}"
    cure = "declare it in a module that the worker can import, and" if path is None else "give a provider and"
    raise UsageError(
        f"{what} holds a secret ({kind}), and a task that is delayed leaves what is in force in Prefect's result storage; "
        f"{cure} read the secret where the task runs, from settings or a Secret block: `providers.Resource(open_it)`; or "
        "submit the task, which stores nothing of it"
    )


def dumped(parts: object, container: ContainerClass, overrides: Mapping[str, AnyProvider], dumps: Dumps) -> bytes:
    """What is sent to worker processes, as bytes.

    Raises:
        UsageError: it cannot be pickled; an override, where one is the cause, by its path.
    """
    try:
        return dumps(parts)
    except Exception as error:
        name = qualified_name(container)
        for path, provider in overrides.items():
            failure = _failure(provider, dumps)
            if failure is not None:
                raise UsageError(
                    f"the override of {name}.{path} cannot be pickled for the worker processes of this run's task "
                    f"runner ({failure}); give something that pickles, or a provider that makes it there, "
                    f"`{path}=providers.Resource(open_it)`"
                ) from error
        raise UsageError(
            f"{name} cannot be pickled for the worker processes of this run's task runner "
            f"({type(error).__name__}: {error}); declare it in a module that they can import, or keep what does not "
            "pickle out of its arguments"
        ) from error


def _failure(value: Any, dumps: Dumps) -> str | None:
    try:
        dumps(value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
