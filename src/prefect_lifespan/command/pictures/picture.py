"""What is in a picture, whatever it is drawn as: providers in their boxes, who needs what, and who asks for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prefect_lifespan.command.program import Program
from prefect_lifespan.command.rules.unused import is_asked, names_in, unused_in
from prefect_lifespan.describing import DescribedNode, Description, describe
from prefect_lifespan.graph import graph_of
from prefect_lifespan.graph.anchors import anchor_of, key_of_path
from prefect_lifespan.graph.reader import ContainerClass

Lifetime = Literal["run", "task", "process"]
UserKind = Literal["flow", "task", "function"]

# The colours of the lifetimes, the same in every picture: what is filled, and its border.
COLOURS: Mapping[Lifetime | None, tuple[str, str]] = {
    "run": ("#dbeafe", "#2563eb"),
    "task": ("#fef3c7", "#d97706"),
    "process": ("#ede9fe", "#7c3aed"),
    None: ("#f3f4f6", "#6b7280"),
}
LEGEND: Mapping[Lifetime | None, str] = {
    "run": "one per flow run",
    "task": "one per task run",
    "process": "one per process",
    None: "no resource",
}


@dataclass(frozen=True)
class User:
    """A flow, a task or a function, and the paths of what it asks for."""

    name: str
    kind: UserKind
    asks: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """One container: `boxes` are the paths of its sub-containers, `unused` those of providers that nothing asks for."""

    description: Description
    unused: frozenset[str]
    users: tuple[User, ...]
    opened_by: tuple[str, ...]

    @property
    def boxes(self) -> Sequence[str]:
        """The sub-containers, each before those that are in it."""
        return sorted(n.path for n in self.description.nodes if n.kind in _BOXES)

    @property
    def nodes(self) -> Sequence[DescribedNode]:
        """The providers that are no boxes."""
        return [node for node in self.description.nodes if node.kind not in _BOXES]

    @property
    def edges(self) -> Sequence[tuple[str, str]]:
        """What is made with what: a provider with another one, or with a whole box that it is not in."""
        edges = [(edge.source, edge.target) for edge in self.description.edges]
        return [(one, other) for one, other in edges if one != other and not one.startswith(f"{other}.")]

    def box_of(self, path: str) -> str | None:
        """The innermost box that a path is in."""
        around = path.rpartition(".")[0]
        boxes = set(self.boxes)
        while around:
            if around in boxes:
                return around
            around = around.rpartition(".")[0]
        return None

    def name_in_box(self, path: str) -> str:
        """A path as it is called inside of its box."""
        box = self.box_of(path)
        return path if box is None else path.removeprefix(f"{box}.")

    def asked_by(self, path: str) -> Sequence[User]:
        """The flows, tasks and functions that ask for a provider."""
        return [user for user in self.users if path in user.asks]

    def marks(self, node: DescribedNode) -> Sequence[str]:
        """What is to be said of a provider beside its kind."""
        said = {"async": node.asynchronous, "overridden": node.overridden, "unused": node.path in self.unused}
        return [mark for mark, holds in said.items() if holds]


_BOXES = ("Container", "DependenciesContainer")


def picture_of(container: ContainerClass, program: Program) -> Picture:
    """The picture of a container, with what was found of its program."""
    unused: Sequence[Any] = ()
    if is_asked(container, program):
        unused = unused_in(graph_of(container), names_in(program))
    return Picture(
        description=describe(container),
        unused=frozenset(node.path for node in unused),
        users=tuple(_users(container, program)),
        opened_by=tuple(flow.name for flow in program.flows if program.opens(flow) is container),
    )


def _users(container: ContainerClass, program: Program) -> Sequence[User]:
    found: list[User] = []
    injected = [function for function in program.found.functions if program.markers_of(function)]
    kinds: tuple[tuple[UserKind, Sequence[Any]], ...] = (
        ("flow", program.flows),
        ("task", program.tasks),
        ("function", injected),
    )
    for kind, works in kinds:
        for work in works:
            markers = program.markers_of(work).values()
            asks = dict.fromkeys(path for marker in markers if (path := _path_in(container, marker)) is not None)
            if asks:
                found.append(User(getattr(work, "name", work.__name__), kind, tuple(asks)))
    return found


def _path_in(container: ContainerClass, marker: Any) -> str | None:
    """The path of what a marker names in a container, also where that derives from the one that it names."""
    graph = graph_of(container)
    if isinstance(marker.provider, str):
        key = key_of_path(graph, marker.provider)
    else:
        anchor = id(anchor_of(marker.provider))
        declared = None if marker.owner is None else graph_of(marker.owner).nodes.get(anchor)
        derives = marker.owner is not None and issubclass(container, marker.owner)
        key = anchor if anchor in graph.nodes else graph.by_path.get(declared.path) if declared and derives else None
    return None if key is None else graph.nodes[key].path
