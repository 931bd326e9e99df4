"""Worker processes of prefect-dask's DaskTaskRunner: through the runner's own client, which reaches all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from distributed import Client, get_worker

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.workers.messages import ANSWER_SECONDS, Closed, End, loaded
from prefect_lifespan.workers.openings import openings
from prefect_lifespan.workers.reach import Dumps, Farewell, Runner, cloudpickled

dumps: Dumps = cloudpickled

# How long a cluster that may have ended is tried to be reached.
_PATIENCE = "5s"


@dataclass(frozen=True, slots=True)
class DaskLink:
    """A worker of Dask will be told through its scheduler; any other process will not."""

    is_last_word: bool = False

    def join(self, opening: str) -> Farewell | None:
        """Whether this is such a worker."""
        try:
            get_worker()
        except ValueError:
            return None
        return lambda _: None  # it is the answer to the call that closes


class DaskReach:
    """The workers of one Dask client; `address` is that of a cluster which outlives it."""

    def __init__(self, client: Any, address: str | None, opening: str) -> None:
        self._client = client
        self._address = address
        self._opening = opening
        self.link = DaskLink()

    def ends_with(self, runner: object) -> bool:
        """Workers that end with their runner close by themselves."""
        return False

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close on all workers that the scheduler has, side by side."""
        report = CloseReport("", outcome)
        end = End(outcome, grace).dumped(dumps)
        try:
            if self._client.status == "running":
                answers = self._tell(self._client, end, grace)
            elif self._address is None:
                return report  # the cluster ended with its runner, and its workers closed with it
            else:  # only the runner of a flow that had joined the lifespan has ended
                with Client(self._address, set_as_default=False, timeout=_PATIENCE) as client:
                    answers = self._tell(client, end, grace)
        except (OSError, TimeoutError) as error:  # the scheduler is gone, and with it the way to its workers
            kind = type(error).__name__
            flow_logger().error("The Dask cluster cannot be reached, so its workers were not told to close: %s", kind)
            return report
        for worker, answer in answers.items():
            if isinstance(answer, bytes) and isinstance(closed := loaded(answer), Closed):
                closed.into(report)
            else:
                kind = type(answer).__name__
                flow_logger().error("Dask worker %s did not say that it closed its resources: %s", worker, kind)
        return report

    def _tell(self, client: Any, end: bytes, grace: float | None) -> dict[str, object]:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        answers = client.sync(self._ask, client, workers, partial(end_here, self._opening, end), grace)
        return dict(zip(workers, cast("list[object]", answers), strict=True))

    async def _ask(
        self, client: Any, workers: list[str], function: Callable[[], object], grace: float | None
    ) -> list[object]:
        """Call a function on each worker, side by side; one that is stopped or lost holds up nobody."""
        return await asyncio.gather(
            *(self._ask_one(client, worker, function, grace) for worker in workers), return_exceptions=True
        )

    async def _ask_one(self, client: Any, worker: str, function: Callable[[], object], grace: float | None) -> object:
        asking = partial(seconds_here, self._opening, grace)
        seconds = await asyncio.wait_for(_call(client, worker, asking), ANSWER_SECONDS)
        limit = None if seconds is None else cast("float", seconds) + ANSWER_SECONDS
        return await asyncio.wait_for(_call(client, worker, function), limit)


async def _call(client: Any, worker: str, function: Callable[[], object]) -> object:
    answers = await client.run(function, workers=[worker], on_error="raise")
    return answers[worker]


def seconds_here(opening: str, grace: float | None) -> float | None:
    """How long closing an opening may take in this worker."""
    return openings.seconds_to_close(opening, grace)


async def end_here(opening: str, end: bytes) -> bytes:
    """Close an opening in this worker, without holding up its event loop."""
    message = loaded(end)
    assert isinstance(message, End)
    return Closed.dumped(await asyncio.to_thread(openings.end, opening, message.outcome, message.grace))


def key(runner: Runner) -> Hashable:
    """One for each client, which the submission that asks goes through."""
    return (__name__, cast("Any", runner).client.id)


def reach(runner: Runner, opening: str) -> DaskReach:
    """The runner's client, for an opening."""
    return DaskReach(cast("Any", runner).client, cast("Any", runner).address, opening)


@contextmanager
def around_submit(runner: Runner, scope: str) -> Generator[None]:
    """Nothing to do: Dask serialises the context for each submission."""
    yield
