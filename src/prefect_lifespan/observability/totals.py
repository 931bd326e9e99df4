"""What a lifespan took in all: one line at its end, which names the resource that made the start slow."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_lifespan.engine import Event


@dataclass
class Totals:
    """An observer that adds up what a lifespan opens and closes, in this process and in those that tell it."""

    opened: int = 0
    closed: int = 0
    failed: int = 0
    opening_seconds: float = 0.0
    closing_seconds: float = 0.0
    slowest: str = ""
    slowest_seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        if event.kind == "opened":
            self.opened += 1
            self.opening_seconds += event.seconds
            if event.seconds >= self.slowest_seconds:
                self.slowest, self.slowest_seconds = event.path, event.seconds
        elif event.kind in ("closed", "close-failed"):
            self.closed += 1
            self.closing_seconds += event.seconds
        self.failed += event.kind in ("open-failed", "close-failed", "failed")

    def line(self, container: str, waited: float) -> str:
        """The line; nothing where nothing has opened. `waited` are the seconds that tasks had after the body."""
        if not self.opened:
            return ""
        share = round(100 * self.slowest_seconds / self.opening_seconds) if self.opening_seconds else 100
        slowest = f" (slowest: {self.slowest}, {self.slowest_seconds:.3f} s, {share} %)" if self.opened > 1 else ""
        failures = f", {self.failed} failed" if self.failed else ""
        return (
            f"Totals of {container}: opened {self.opened} in {self.opening_seconds:.3f} s{slowest}, waited "
            f"{waited:.3f} s for tasks, closed {self.closed} in {self.closing_seconds:.3f} s{failures}"
        )
