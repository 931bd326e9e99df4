"""One finding of `check` as data, and the list of all codes with how severe each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]
Code = Literal[
    "captive-lifetime",
    "cycle",
    "no-initialiser",
    "option-without-value",
    "providers-in-collection",
    "required-option",
    "second-yield",
    "unbindable-arguments",
    "uncopyable-argument",
    "undefined-dependency",
    "unguarded-cleanup",
]

# An error keeps a container from being opened; a warning is for whoever looks.
SEVERITIES: Mapping[Code, Severity] = {
    "captive-lifetime": "error",
    "cycle": "error",
    "no-initialiser": "error",
    "option-without-value": "warning",
    "providers-in-collection": "error",
    "required-option": "error",
    "second-yield": "warning",
    "unbindable-arguments": "error",
    "uncopyable-argument": "error",
    "undefined-dependency": "error",
    "unguarded-cleanup": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or suspicious, with a container.

    `code` names the kind and never changes, `severity` follows from it: an "error" keeps the container from being opened.
    `path` is that of the provider at fault, `message` says what is wrong and `cure` what to do. `way` leads there, each
    step with its kind of provider.
    """

    code: Code
    severity: Severity = field(init=False)
    path: str
    message: str
    cure: str
    way: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", SEVERITIES[self.code])

    def __str__(self) -> str:
        drawn = [
            ("  " if depth == 0 else "  " + "   " * (depth - 1) + "└─ ") + step for depth, step in enumerate(self.way)
        ]
        head = self.code if self.severity == "error" else f"{self.severity}: {self.code}"
        return "\n".join([f"{head}: {self.message}", *drawn, f"  Cure: {self.cure}"])
