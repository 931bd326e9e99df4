"""One finding of `check` as data, the list of all codes with how severe each is, and the page that tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# The page with an entry for each error class and each code of a finding. The project has no site of its own that could be
# named: this is its place in the repository and in the source distribution.
PAGE = "docs/errors.md"


def address(entry: str) -> str:
    """Where the page of errors tells of a class or of a code: what happened, why it is bad, what to do."""
    return f"{PAGE}#{entry.lower()}"


Severity = Literal["error", "warning"]
Code = Literal[
    # Of containers: `check`.
    "captive-lifetime",
    "cycle",
    "logging-reconfigured",
    "no-initialiser",
    "opened-on-class",
    "option-without-value",
    "providers-in-collection",
    "required-option",
    "second-yield",
    "unbindable-arguments",
    "uncopyable-argument",
    "undefined-dependency",
    "unguarded-cleanup",
    "unopened-generator",
    # Of flows, tasks, hooks and functions.
    "asynchronous-in-blocking-flow",
    "forgotten-inject",
    "forgotten-lifespan",
    "inner-container-marker",
    "provider-as-default",
    "stock-inject",
    "uninjected-helper",
    "unknown-name",
    # Of a program as a whole: the command `prefect-lifespan check`.
    "cannot-travel",
    "container-not-open",
    "flow-without-lifespan",
    "invalid-setting",
    "missing-setting",
    "unused-provider",
]

# An error keeps a container from being opened, and a function from being called; a warning is for whoever looks.
SEVERITIES: Mapping[Code, Severity] = {
    "captive-lifetime": "error",
    "cycle": "error",
    "logging-reconfigured": "warning",
    "no-initialiser": "error",
    "opened-on-class": "warning",
    "option-without-value": "warning",
    "providers-in-collection": "error",
    "required-option": "error",
    "second-yield": "warning",
    "unbindable-arguments": "error",
    "uncopyable-argument": "error",
    "undefined-dependency": "error",
    "unguarded-cleanup": "warning",
    "unopened-generator": "warning",
    "asynchronous-in-blocking-flow": "warning",
    "forgotten-inject": "error",
    "forgotten-lifespan": "error",
    "inner-container-marker": "error",
    "provider-as-default": "error",
    "stock-inject": "error",
    "uninjected-helper": "warning",
    "unknown-name": "error",
    "cannot-travel": "warning",
    "container-not-open": "warning",
    "flow-without-lifespan": "warning",
    "invalid-setting": "error",
    "missing-setting": "warning",
    "unused-provider": "warning",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or suspicious, with a container or with a function.

    `code` names the kind and never changes, `severity` follows from it: an "error" keeps the container from being opened,
    or the function from being called. `path` is that of the provider at fault, or the function's qualified name with its
    file and line; `message` says what is wrong and `cure` what to do. `way` leads there, each
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

    @property
    def told(self) -> str:
        """In one sentence, for an error that is about this alone."""
        return f"{self.message}: {self.cure} ({address(self.code)})"

    def __str__(self) -> str:
        drawn = [
            ("  " if depth == 0 else "  " + "   " * (depth - 1) + "└─ ") + step for depth, step in enumerate(self.way)
        ]
        head = self.code if self.severity == "error" else f"{self.severity}: {self.code}"
        return "\n".join([f"{head}: {self.message}", *drawn, f"  Cure: {self.cure}", f"  See: {address(self.code)}"])
