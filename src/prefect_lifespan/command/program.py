"""A program as far as targets show it: which containers are in force, who opens them, and what each work asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from prefect_lifespan.command.targets import Found, is_work
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.anchors import container_classes
from prefect_lifespan.graph.reader import ContainerClass

if TYPE_CHECKING:
    from prefect_lifespan.injection.markers import Marker
    from prefect_lifespan.lifespans.asked import Settings


@dataclass
class Program:
    """What was found, and what follows from that."""

    found: Found
    _reached: dict[int, set[int]] = field(default_factory=dict[int, set[int]])

    @cached_property
    def flows(self) -> Sequence[Any]:
        """The flows."""
        return [work for work in self.found.works if not self.is_task(work)]

    @cached_property
    def tasks(self) -> Sequence[Any]:
        """The tasks."""
        return [work for work in self.found.works if self.is_task(work)]

    @staticmethod
    def is_task(work: Any) -> bool:
        """Whether it is a task, and no flow."""
        return isinstance(work, vars(sys.modules["prefect.tasks"])["Task"])

    @staticmethod
    def lifespan_of(work: Any) -> Settings | None:
        """What the lifespan of a flow was asked for; None where it has none."""
        if not is_work(work):
            return None
        from prefect_lifespan.lifespans.flows import settings_of  # noqa: PLC0415 - there is Prefect

        return settings_of(work.fn)

    def opens(self, work: Any) -> ContainerClass | None:
        """The container that a flow opens."""
        settings = self.lifespan_of(work)
        return None if settings is None else settings.container

    @staticmethod
    def markers_of(work: Any) -> Mapping[str, Marker]:
        """The injected parameters of a flow, a task or a function."""
        from prefect_lifespan.injection.plan import plan_of  # noqa: PLC0415 - costs nothing where nobody injects

        plan = plan_of(getattr(work, "fn", work))
        return {} if plan is None else plan.markers

    @cached_property
    def containers(self) -> Sequence[ContainerClass]:
        """The containers that are in force: those that were named, that flows open, and those declared that stand alone.

        What another container holds as a sub-container, or derives from, is in force only as a part of that.
        """
        opened = [c for c in map(self.opens, self.flows) if c is not None]
        certain = [*self.found.named, *opened]
        parts = self._parts
        alone = [c for c in self.found.containers if not any(c is part for part in parts)]
        return list(dict.fromkeys([*alone, *certain]))

    @cached_property
    def _parts(self) -> Sequence[ContainerClass]:
        parts: list[ContainerClass] = []
        for container in container_classes(containers.DeclarativeContainer):
            parts += [base for base in container.__mro__[1:] if base is not containers.DeclarativeContainer]
            for node in graph_of(container).nodes.values():
                if isinstance(node.provider, providers.Container):
                    sub: Any = node.provider
                    parts += [sub.container.declarative_parent]
        return parts

    def in_force_for(self, flow: Any) -> Sequence[Any]:
        """The tasks and flows that a flow names and that run in the lifespan that it runs in, as far as that is certain."""
        from prefect_lifespan.lifespans.reachable import reachable, stays_in_its_lifespan  # noqa: PLC0415 - as above

        if not stays_in_its_lifespan(flow.fn, into=self._opens_none):
            return ()
        return [work for work in reachable(flow.fn, into=self._opens_none) if self._opens_none(work)]

    def _opens_none(self, work: Any) -> bool:
        return self.opens(work) is None

    def openers_around(self, work: Any) -> Iterator[ContainerClass]:
        """The containers that flows open which name a work, at any depth."""
        from prefect_lifespan.lifespans.reachable import reachable  # noqa: PLC0415 - as above

        for flow in self.flows:
            container = self.opens(flow)
            if container is not None and flow is not work:
                if id(flow) not in self._reached:
                    self._reached[id(flow)] = {id(each.fn) for each in reachable(flow.fn)}
                if id(work.fn) in self._reached[id(flow)]:
                    yield container

    @cached_property
    def own_modules(self) -> Iterable[ModuleType]:
        """The modules of the program that are loaded: what was found, and what that imports from the working directory."""
        here = Path.cwd()
        loaded = [module for module in list(sys.modules.values()) if _is_below(here, getattr(module, "__file__", None))]
        return list({id(module): module for module in [*self.found.modules.values(), *loaded]}.values())


def _is_below(folder: Path, file: str | None) -> bool:
    return file is not None and Path(file).is_relative_to(folder) and "site-packages" not in file
