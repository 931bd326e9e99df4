"""What a place offers to whoever opens and closes: a resource is entered in it, and exited in it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from prefect_lifespan.engine.initialiser import Entered, Outcome
from prefect_lifespan.engine.schedule.commands import Remedy
from prefect_lifespan.errors import ResourceTimeoutError

# On an event loop: one of them is done when what is waited for has come to its end.
Endings = Sequence["asyncio.Future[Any]"]


class Place(Protocol):
    """Of one attempt to open a resource, and where that comes to something, of the resource till it has closed.

    Entering and exiting come in two colours, which differ in who waits. What runs where the caller runs has come to its
    end on return, and raises what it raises; of the rest, `pending` says what to wait for, and `failure` and `error` what
    has come of it. It is asked for anew after an interruption, so that nobody has to be told it in the right moment.
    """

    entered: Entered

    @property
    def remedy(self) -> Remedy:
        """What can be done where entering takes too long."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """What entering has raised, or has ended it otherwise."""
        ...

    @property
    def error(self) -> BaseException | None:
        """What exiting has raised."""
        ...

    @property
    def is_entering(self) -> bool:
        """Whether the initialiser has been called, and has not come to its end."""
        ...

    @property
    def is_exiting(self) -> bool:
        """Whether the exit is under way."""
        ...

    @property
    def was_stopped(self) -> bool:
        """Whether it was told to stop, and by nobody else."""
        ...

    @property
    def was_cancelled(self) -> bool:
        """Whether somebody else has ended it."""
        ...

    def enter(self) -> None:
        """Enter it, for a caller that blocks."""
        ...

    def enter_on_loop(self) -> None:
        """Enter it, for a caller that awaits."""
        ...

    def stop(self, *, for_its_limit: bool) -> None:
        """Tell the initialiser to stop, where that can be told."""
        ...

    def abandon(self, told: BaseException) -> bool:
        """Wait no longer: what is entered after this is exited at once, there, being told that. False: it has been."""
        ...

    def exit(self, outcome: Outcome) -> None:
        """Exit it, for a caller that blocks. Doing it again does nothing, if its exit was called."""
        ...

    def exit_on_loop(self, outcome: Outcome) -> None:
        """Exit it, for a caller that awaits."""
        ...

    def pending(self) -> Future[None] | None:
        """What to wait for, for a caller that blocks; None where there is nothing."""
        ...

    def pending_on_loop(self) -> Endings:
        """What to wait for, for a caller that awaits; empty where there is nothing."""
        ...

    def patience(self, limit: float | None) -> float | None:
        """Seconds that exiting may take: its limit, or what that is worth here."""
        ...

    def give_up(self) -> ResourceTimeoutError:
        """Wait for the exit no longer."""
        ...
