"""How long tasks that run when their run ends may go on using its resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from prefect_lifespan.lifespans.prefect_run import is_suspension

# Where their run is terminated.
TERMINATION_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Grace:
    """The seconds that running tasks have from now on, wherever they are waited for; None for no limit."""

    seconds: float | None
    since: float = field(default_factory=monotonic)

    @classmethod
    def after(cls, outcome: BaseException | None) -> Grace:
        """How long they are waited for when the body has ended so."""
        interrupted = outcome is not None and not isinstance(outcome, (Exception, GeneratorExit))
        return cls(TERMINATION_GRACE_SECONDS if interrupted and not is_suspension(outcome) else None)

    def after_another_signal(self) -> Grace:
        """How long they are waited for from now on when a signal has interrupted that."""
        return Grace(TERMINATION_GRACE_SECONDS if self.seconds is None else 0.0)

    @property
    def left(self) -> float | None:
        """What is left of it."""
        return None if self.seconds is None else max(0.0, self.seconds - (monotonic() - self.since))
