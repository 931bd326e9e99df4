"""What the engine reports about each opening and closing: events as data, and the log line of each.

Lines carry paths, seconds and the type of an error; never a value, an argument or an error's text, which may hold a
secret.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind = Literal["opened", "open-failed", "open-retried", "closed", "close-failed"]


@dataclass(frozen=True, slots=True)
class Event:
    """One opening or closing of one resource: its container and path, the seconds it took, and its error if any.

    `failed` tells of a closing whether the body had failed: the outcome that reached the resource.
    """

    kind: Kind
    container: str
    resource: str
    seconds: float
    error: BaseException | None = None
    failed: bool = False

    @property
    def message(self) -> str:
        """The log line."""
        name = f"{self.container}.{self.resource}"
        error = type(self.error).__name__
        match self.kind:
            case "opened":
                return f"Opened {name} in {self.seconds:.3f} s"
            case "open-failed":
                return f"Opening {name} failed after {self.seconds:.3f} s: {error}"
            case "open-retried":
                return f"Opening {name} failed after {self.seconds:.3f} s: {error}; it will be tried again"
            case "closed":
                return f"Closed {name} in {self.seconds:.3f} s{' after a failure' if self.failed else ''}"
            case "close-failed":
                return f"Closing {name} failed after {self.seconds:.3f} s: {error}"

    @property
    def level(self) -> int:
        """The level of the log line, as in the logging module."""
        if self.kind == "open-retried":
            return logging.WARNING
        return logging.INFO if self.error is None else logging.ERROR


Logger: TypeAlias = "logging.Logger | logging.LoggerAdapter[logging.Logger]"
Listener: TypeAlias = Callable[[Event], None]

library_logger = logging.getLogger("prefect_lifespan")


def logging_to(logger: Logger) -> Listener:
    """A listener that writes each event to `logger`."""
    return lambda event: logger.log(event.level, event.message)
