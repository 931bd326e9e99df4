"""What it costs to see a run: a flow with 10 resources and 100 tasks, with everything off, with events, with all of it.

`python benchmarks/observing.py [rounds]` runs the three side by side, round by round, against an API of its own, and
prints the median seconds of each, its ratio to "off", and how many requests each run sent to the API.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.testing.utilities import prefect_test_harness

from prefect_lifespan import Provide, inject, lifespan

App: Any = type(
    "App",
    (containers.DeclarativeContainer,),
    {f"resource_{number}": providers.Resource("resource {}".format, number) for number in range(10)},
)
LEVELS = {
    "off": {"EVENTS": "none", "TOTALS": "false", "REPORT": "false"},
    "events": {"EVENTS": "all", "TOTALS": "false", "REPORT": "false"},
    "all": {"EVENTS": "all", "TOTALS": "true", "REPORT": "true"},
}


@task
@inject
def use(number: int, resource: str = Provide[App.resource_9]) -> int:
    return number


@flow
@lifespan(App)
def run() -> int:
    return len(use.map(range(100)).result())


def count_requests() -> Callable[[], int]:
    """What gives the number of requests that this process has sent so far, events and log lines in batches aside."""
    sent = 0

    def counting(client: Any) -> None:
        send = client.send

        if client is PrefectHttpxAsyncClient:

            async def asend(self: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal sent
                sent += 1
                return await send(self, *args, **kwargs)

            client.send = asend
            return

        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal sent
            sent += 1
            return send(self, *args, **kwargs)

        client.send = counted

    counting(PrefectHttpxAsyncClient)
    counting(PrefectHttpxSyncClient)
    return lambda: sent


def main(rounds: int) -> None:
    requests = count_requests()
    seconds: dict[str, list[float]] = {level: [] for level in LEVELS}
    calls: dict[str, list[int]] = {level: [] for level in LEVELS}
    with prefect_test_harness(server_startup_timeout=200):
        run()  # what is only done once
        for _ in range(rounds):
            for level, settings in LEVELS.items():
                os.environ.update({f"PREFECT_INTEGRATIONS_LIFESPAN_{name}": value for name, value in settings.items()})
                before, started = requests(), time.perf_counter()
                run()
                seconds[level].append(time.perf_counter() - started)
                calls[level].append(requests() - before)
    off = statistics.median(seconds["off"])
    for level in LEVELS:
        median = statistics.median(seconds[level])
        print(f"{level:8}{median:8.3f} s   x{median / off:.3f}   {statistics.median(calls[level]):g} requests")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
