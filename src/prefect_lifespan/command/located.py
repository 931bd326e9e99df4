"""Findings with the target that they are of, and the file and line where somebody would mend them."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_lifespan.command.importing import shown
from prefect_lifespan.graph import Finding
from prefect_lifespan.graph.reader import ContainerClass

_PLACE = re.compile(r"\((?P<file>[^()]+):(?P<line>\d+)\)")


@dataclass(frozen=True)
class Located:
    """One finding: `target` is `module:Name`; there is no place for what has no source."""

    finding: Finding
    target: str
    file: str | None = None
    line: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, as JSON has it."""
        finding = self.finding
        return {
            "code": finding.code,
            "severity": finding.severity,
            "target": self.target,
            "path": from_here(finding.path),
            "message": from_here(finding.message),
            "cure": from_here(finding.cure),
        }

    @property
    def place(self) -> str:
        """File and line, or the target where there are none."""
        return self.target if self.file is None else f"{self.file}:{self.line}"


def target_of(value: Any) -> str:
    """A container, a flow, a task or a function as a target names it."""
    declared = getattr(value, "fn", value)
    return f"{declared.__module__}:{declared.__qualname__.replace('<locals>.', '')}"


def of_container(finding: Finding, container: ContainerClass) -> Located:
    """A finding at the line that declares the provider, or the class."""
    file, line = place_of_provider(container, finding.path)
    return Located(finding, target_of(container), file, line)


def of_function(finding: Finding, function: Any) -> Located:
    """A finding at the place that its path names, or at the function."""
    told = _PLACE.search(finding.path)
    if told is not None:
        return Located(finding, target_of(function), shown(told["file"]), int(told["line"]))
    declared = inspect.unwrap(getattr(function, "fn", function))
    code = getattr(declared, "__code__", None)
    if code is None:
        return Located(finding, target_of(function))
    return Located(finding, target_of(function), shown(code.co_filename), code.co_firstlineno)


def from_here(text: str) -> str:
    """A text with files as they are called from the working directory."""
    return text.replace(f"{Path.cwd()}/", "")


def place_of_provider(container: ContainerClass, path: str) -> tuple[str | None, int | None]:
    """File and line of what a path names in a container: of its own line, or of that of its sub-container."""
    name = path.partition(".")[0].partition("(")[0]
    for base in container.__mro__:
        if name in vars(base).get("cls_providers", {}) or base is container:
            file, line = _place_in_class(base, name)
            if line is not None:
                return file, line
    return _place_in_class(container, "")


def _place_in_class(cls: type, name: str) -> tuple[str | None, int | None]:
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        file = None
    declared = None if file is None else _class_in(file, cls.__qualname__)
    if declared is None or file is None:
        return (None, None)
    if not name:
        return shown(file), declared.lineno
    for statement in declared.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == name for target in targets for each in _names(target)):
            return shown(file), statement.lineno
    return shown(file), None


def _names(target: ast.AST | None) -> list[ast.AST]:
    return [] if target is None else [*ast.walk(target)]


def _class_in(file: str, qualified: str) -> ast.ClassDef | None:
    scope: ast.AST | None = tree_of(file)
    for name in qualified.split("."):
        if scope is None or name == "<locals>":
            continue
        scope = next((each for each in ast.walk(scope) if isinstance(each, _NAMED) and each.name == name), None)
    return scope if isinstance(scope, ast.ClassDef) else None


_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def tree_of(file: str) -> ast.Module | None:
    """The source of a file, read; None where that cannot be done."""
    try:
        return ast.parse(Path(file).read_text("utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None
