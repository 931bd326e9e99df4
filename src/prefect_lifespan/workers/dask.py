"""Worker processes of prefect-dask's DaskTaskRunner: through the runner's own client, which reaches all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from distributed import Client, get_worker

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.workers.messages import ANSWER_SECONDS, Closed, End, loaded
from prefect_lifespan.workers.remote_workers import Dumps, Joined, Runner, cloudpickled
from prefect_lifespan.workers.worker_lifespans import worker_lifespans

T = TypeVar("T")

ENDS_WITH_RUNNER = False
dumps: Dumps = cloudpickled

# How long a cluster that may have ended is tried to be reached.
_PATIENCE = "5s"


@dataclass(frozen=True, slots=True)
class DaskLink:
    """A worker of Dask will be told through its scheduler; any other process will not.

    `client` is the id of the one that will tell the workers of a cluster which outlives it. They do not notice by
    themselves when that is gone, but their scheduler knows.
    """

    client: str | None = None
    is_last_word: bool = False

    def join(self, lifespan: str) -> Joined | None:
        """Whether this is such a worker."""
        worker = _worker_here()
        if worker is None:
            return None
        is_lost = None if self.client is None else partial(_is_gone, worker, self.client)
        return Joined(lambda _: None, is_lost)  # it is the answer to the call that closes


def _is_gone(worker: Any, client: str) -> bool:
    """Whether a worker's scheduler has lost a client."""

    def knows(
        dask_scheduler: Any,
    ) -> bool:  # here, so that it travels by value: a scheduler may do without this package
        return client in dask_scheduler.clients

    async def ask() -> bool:
        answer = await worker.scheduler.run_function(function=cloudpickled(knows), args=(), kwargs={}, wait=True)
        return answer["status"] == "OK" and not answer["result"]

    with suppress(Exception):  # without a scheduler, or at its own end, a worker closes by itself
        return asyncio.run_coroutine_threadsafe(ask(), worker.loop.asyncio_loop).result(ANSWER_SECONDS)
    return False


class DaskWorkers:
    """The workers of a Dask client; `owned` where it is not the runner's, connected as long as the lifespan is open."""

    def __init__(self, client: Any, lifespan: str, *, owned: bool) -> None:
        self._client = client
        self._lifespan = lifespan
        self._owned = owned
        self.link: DaskLink = DaskLink(client.id if owned else None)

    def ends_with(self, runner: object) -> bool:
        """Workers that end with their runner close by themselves."""
        return False

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close on all workers that the scheduler has, side by side."""
        report = CloseReport("", outcome)
        try:
            if self._client.status == "running":
                self._end(End.dumped(outcome, grace, dumps), grace, report)
            elif self._owned:  # otherwise the cluster ended with its runner, and its workers closed with it
                raise ConnectionError
        except (OSError, TimeoutError) as error:  # the scheduler is gone, and with it the way to its workers
            kind = type(error).__name__
            flow_logger().error("The Dask cluster cannot be reached, so its workers were not told to close: %s", kind)
        finally:
            if self._owned:
                with suppress(OSError, TimeoutError):
                    self._client.close()
        return report

    def _end(self, end: bytes, grace: float | None, report: CloseReport) -> None:
        workers = list(self._client.scheduler_info(n_workers=-1)["workers"])
        function = partial(end_here, self._lifespan, end)
        answers = cast("list[object]", self._client.sync(self._ask, self._client, workers, function, grace))
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, bytes) and isinstance(closed := loaded(answer), Closed):
                closed.into(report)
            else:
                kind = type(answer).__name__
                flow_logger().error("Dask worker %s did not say that it closed its resources: %s", worker, kind)

    async def _ask(
        self, client: Any, workers: list[str], function: Callable[[], object], grace: float | None
    ) -> list[object]:
        """Call a function on each worker, side by side; one that is stopped or lost holds up nobody."""
        return await asyncio.gather(
            *(self._ask_one(client, worker, function, grace) for worker in workers), return_exceptions=True
        )

    async def _ask_one(self, client: Any, worker: str, function: Callable[[], object], grace: float | None) -> object:
        asking = partial(seconds_here, self._lifespan, grace)
        seconds = await asyncio.wait_for(_call(client, worker, asking), ANSWER_SECONDS)
        limit = None if seconds is None else cast("float", seconds) + ANSWER_SECONDS
        return await asyncio.wait_for(_call(client, worker, function), limit)


async def _call(client: Any, worker: str, function: Callable[[], object]) -> object:
    answers = await client.run(function, workers=[worker], on_error="raise")
    return answers[worker]


def seconds_here(lifespan: str, grace: float | None) -> float | None:
    """How long closing a lifespan may take in this worker."""
    return worker_lifespans.seconds_to_close(lifespan, grace)


async def end_here(lifespan: str, end: bytes) -> bytes:
    """Close a lifespan in this worker, without holding up its event loop."""
    message = loaded(end)
    assert isinstance(message, End)
    return Closed.dumped(await asyncio.to_thread(worker_lifespans.end, lifespan, message.outcome, message.grace))


def key(runner: Runner) -> Hashable:
    """One for each client, which the submission that asks goes through; a cluster that outlives it is the same for all."""
    client = cast("Any", runner).client  # asking for it connects, and may find the address
    return (__name__, cast("Any", runner).address or client.id)


def remote_workers(runner: Runner, lifespan: str) -> DaskWorkers:
    """A client for a lifespan: the runner's, or where the cluster outlives the runner, one that does so, too."""
    client, address = cast("Any", runner).client, cast("Any", runner).address
    if address is None or _worker_here() is not None:  # in a worker its one client is as good as any
        return DaskWorkers(client, lifespan, owned=False)
    own = Client(address, security=client.security, set_as_default=False, timeout=_PATIENCE)
    return DaskWorkers(own, lifespan, owned=True)


def _worker_here() -> Any:
    """The worker whose task this is; None anywhere else."""
    try:
        return get_worker()
    except ValueError:
        return None


def submitted(runner: Runner, scope: str, submit: Callable[[], T]) -> T:
    """Let Dask give each submission a key of its own, and not make one of all that is sent.

    For that it would pickle task and context up to seven times more, to find the same work again. Two submissions of
    Prefect's are never the same: each has the id of its task run. Its client, one of the run's own, offers no other way to
    say so (tests/contract/test_prefect_dask_submissions.py).
    """
    client = cast("Any", runner).client
    if "submit" not in vars(client):
        client.submit = partial(client.submit, pure=False)
    return submit()
