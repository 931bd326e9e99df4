"""How a command fails: one line that says what is wrong, and one that says what to do; and the exit codes."""

from __future__ import annotations

WELL = 0
FOUND = 1  # findings, or failures of what was looked at
WRONG = 2  # the target, or the call itself
INTERRUPTED = 130  # as a shell has it for what Ctrl-C has ended


class CommandError(Exception):
    """The command cannot go on: `message` says why in one line, `cure` what to do; `code` is the exit code."""

    def __init__(self, message: str, cure: str = "", code: int = WRONG) -> None:
        super().__init__(message, cure, code)
        self.message = message
        self.cure = cure
        self.code = code

    def __str__(self) -> str:
        return self.message
