"""A container as a tree in the terminal: what nothing else needs at the top, and below each what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from prefect_lifespan.command.pictures.picture import LEGEND, Lifetime, Picture
from prefect_lifespan.describing import DescribedNode

STYLES: Mapping[Lifetime | None, str] = {"run": "blue", "task": "yellow", "process": "magenta", None: ""}


def tree_of(picture: Picture) -> RenderableType:
    """The tree, and the legend below it."""
    return Group(_Trees(picture).whole(), Text(), _legend())


class _Trees:
    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._nodes = {node.path: node for node in picture.description.nodes}
        self._needs: dict[str, list[str]] = {path: [] for path in self._nodes}
        for source, target in picture.edges:
            self._needs[source].append(target)
        self._users: dict[str, list[str]] = {}
        for user in picture.users:
            for path in user.asks:
                self._users.setdefault(path, []).append(user.name)
        self._drawn: set[str] = set()

    def whole(self) -> Tree:
        head = Text(self._picture.description.container, "bold")
        if self._picture.opened_by:
            head.append(f"  opened by {', '.join(self._picture.opened_by)}", "dim")
        tree = Tree(head)
        needed = {target for targets in self._needs.values() for target in targets}
        boxes = {box for box in self._picture.boxes if box not in self._users}  # what is in them stands for itself
        for path in self._nodes:
            if path not in needed and path not in boxes:
                self._add(tree, path)
        for path in self._nodes:  # a circle has no beginning
            if path not in self._drawn and path not in boxes:
                self._add(tree, path)
        return tree

    def _add(self, tree: Tree, path: str) -> None:
        pending: list[tuple[Tree, str]] = [(tree, path)]
        while pending:
            parent, each = pending.pop()
            again = each in self._drawn and bool(self._needs[each])
            branch = parent.add(self._label(self._nodes[each], again=again))
            if each not in self._drawn:
                self._drawn.add(each)
                pending.extend((branch, target) for target in reversed(self._needs[each]))

    def _label(self, node: DescribedNode, *, again: bool) -> Text:
        label = Text(node.path, STYLES[node.lifetime])
        label.append(f"  {node.kind}", "dim")
        for mark in self._picture.marks(node):
            label.append(f"  {mark}", {"unused": "red", "overridden": "cyan", "async": "green"}[mark])
        if again:
            label.append("  (as above)", "dim")
        elif users := self._users.get(node.path):
            label.append(f"  ← {', '.join(users)}", "dim italic")
        return label


def _legend() -> Text:
    legend = Text()
    parts: Sequence[tuple[str, str]] = [(text, STYLES[lifetime]) for lifetime, text in LEGEND.items()]
    for number, (text, style) in enumerate(parts):
        legend.append("   ■ " if number else "■ ", style or "dim").append(text, "dim")
    return legend
