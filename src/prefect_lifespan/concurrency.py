"""Prefect's global concurrency limits as resources: slots that are held as long as the resource is open.

So a fleet of runs, on however many machines, stays within the connections that a database allows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.asyncio import concurrency as asynchronous
from prefect.concurrency.context import ConcurrencyContext
from prefect.concurrency.sync import concurrency as blocking
from prefect.context import FlowRunContext, TaskRunContext

from prefect_lifespan.errors import LifespanError, UsageError
from prefect_lifespan.managers import manager
from prefect_lifespan.signal_safe import awaited_within, within

_LEASE_SECONDS = 60.0
_SHORTEST_LEASE_SECONDS = 60.0


class LimitNotFoundError(LifespanError):
    """There is no global concurrency limit of one of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(tuple(names))
        self.names: tuple[str, ...] = tuple(names)

    def _text(self) -> str:
        create = " && ".join(f"prefect gcl create {name} --limit N" for name in self.names)
        return (
            f"There is no global concurrency limit {' or '.join(self.names)} on Prefect's API. Create it: `{create}`."
        )


def concurrency_slots(
    names: str | Sequence[str],
    occupy: int = 1,
    timeout_seconds: float | None = None,
    *,
    lease_seconds: float = _LEASE_SECONDS,
) -> ConcurrencySlots:
    """Slots of Prefect's global concurrency limits as a resource: taken when it opens, given back when it closes.

    A resource that must not open without them takes them as an argument. They are renewed while they are held, and given
    back whatever happens: an exception, a cancellation, SIGTERM. A process that is killed outright gives back nothing;
    then the API frees its slots when the lease ends. Where renewing fails, the log says so and the run goes on.

    Args:
        names: the limit, or several.
        occupy: how many slots of each.
        timeout_seconds: how long to wait for them; None for no limit.
        lease_seconds: how long the API keeps slots for a holder that says nothing any more, 60 at least.

    Returns:
        A context manager of both kinds, whose value is the names.

    Raises:
        LimitNotFoundError: when the resource opens and there is no such limit.
        TimeoutError: when the slots were not to be had in time.
        UsageError: no name, fewer than one slot, or a shorter lease.

    Example:
        >>> from dependency_injector import containers, providers
        >>> from prefect_lifespan.concurrency import concurrency_slots
        >>> class App(containers.DeclarativeContainer):
        ...     slots = providers.Resource(concurrency_slots, "warehouse", timeout_seconds=600)
        ...     warehouse = providers.Resource(dict, slots=slots)  # opens after them, closes before them
    """
    listed = [names] if isinstance(names, str) else [*names]
    if not listed or not all(listed):
        raise UsageError(f"concurrency_slots({names!r}) names no limit, and would hold nothing back")
    if occupy < 1 or lease_seconds < _SHORTEST_LEASE_SECONDS:
        raise UsageError(
            f"concurrency_slots({names!r}, occupy={occupy}, lease_seconds={lease_seconds:g}): one slot at least, for "
            f"{_SHORTEST_LEASE_SECONDS:g} s at least"
        )
    return ConcurrencySlots(listed, occupy, timeout_seconds, lease_seconds)


class ConcurrencySlots:
    """What `concurrency_slots` returns: a context manager of both kinds, whose value is the names."""

    def __init__(self, names: list[str], occupy: int, timeout_seconds: float | None, lease_seconds: float) -> None:
        self._names = names
        self._holding: AbstractContextManager[None] | None = None
        self._aholding: AbstractAsyncContextManager[None] | None = None
        # Losing the lease is a line in the log: to interrupt, Prefect would raise in whatever thread opened this.
        self._how: dict[str, Any] = {
            "occupy": occupy,
            "timeout_seconds": timeout_seconds,
            "lease_duration": lease_seconds,
            "strict": True,
            "raise_on_lease_renewal_failure": False,
        }

    def __enter__(self) -> tuple[str, ...]:
        holding = blocking(self._names, holder=_holder(), **self._how)
        try:
            within(_kept(), lambda _: holding.__enter__())
        except ConcurrencySlotAcquisitionError as error:
            raise self._told(error) from error.__cause__
        except TimeoutError as error:
            raise self._in_vain(error) from None
        self._holding = holding
        return (*self._names,)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._holding is None else self._holding.__exit__(kind, error, traceback)

    async def __aenter__(self) -> tuple[str, ...]:
        holding = asynchronous(self._names, holder=_holder(), **self._how)
        try:
            await awaited_within(_kept(), lambda _: holding.__aenter__())
        except ConcurrencySlotAcquisitionError as error:
            raise self._told(error) from error.__cause__
        except TimeoutError as error:
            raise self._in_vain(error) from None
        self._aholding = holding
        return (*self._names,)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return None if self._aholding is None else await self._aholding.__aexit__(kind, error, traceback)

    def _told(self, error: ConcurrencySlotAcquisitionError) -> Exception:
        """Prefect's own error, or where it means that a limit is not there, one that says what to run."""
        return LimitNotFoundError(self._names) if error.__cause__ is None else error

    def _in_vain(self, error: TimeoutError) -> TimeoutError:
        seconds = self._how["timeout_seconds"]
        return type(error)(
            f"{self._how['occupy']} of the slots of {', '.join(self._names)} were not to be had within {seconds:g} s: "
            "others hold them (`prefect gcl inspect` tells how many are taken)"
        )


@manager
def _kept() -> Generator[None]:
    """Slots that are taken in here stay taken when the task run ends in which they are.

    At the end of a task or flow run Prefect gives back all slots that were taken in it and are still held. A resource of
    the run, or of the process, may be opened by a task that ends long before it. What is interrupted here gives back.
    """
    with ConcurrencyContext() as own:
        yield
        own.cleanup_lease_ids.clear()


def _holder() -> ConcurrencyLeaseHolder | None:
    """The run that the API names as the one that holds the slots."""
    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is not None:
        return ConcurrencyLeaseHolder(type="task_run", id=task.task_run.id)
    if flow is not None and flow.flow_run is not None:
        return ConcurrencyLeaseHolder(type="flow_run", id=flow.flow_run.id)
    return None
