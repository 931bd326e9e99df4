"""What it costs to see a run: a flow with 10 resources and 100 tasks, with everything off, with events, with all of it.

`python -m benchmarks.observing [ROUNDS] [LEVEL...]` runs them in one process against an API of its own, each once a round and in an order that changes, so that what
else the machine does hits all of them alike. A ratio is the median of the rounds' ratios to that round's "off"; "off again" is off once
more, and shows how far two equal ones are apart. Requests are those to the API by name; events and log lines go in batches of Prefect's.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.testing.utilities import prefect_test_harness

from benchmarks._harness import surroundings, table
from prefect_lifespan import Provide, inject, lifespan

App: Any = type(
    "App",
    (containers.DeclarativeContainer,),
    {f"resource_{number}": providers.Resource("resource {}".format, number) for number in range(10)},
)
OFF = {"EVENTS": "none", "TOTALS": "false", "REPORT": "false"}
LEVELS = {
    "off": OFF,
    "off again": OFF,
    "events": {**OFF, "EVENTS": "all"},
    "totals": {**OFF, "TOTALS": "true"},
    "report": {**OFF, "REPORT": "true"},
    "all of it": {"EVENTS": "all", "TOTALS": "true", "REPORT": "true"},
}


@task
@inject
def use(number: int, resource: str = Provide[App.resource_9]) -> int:
    return number


@flow
@lifespan(App)
def run() -> int:
    return len(use.map(range(100)).result())


def count_requests() -> Callable[[], Counter[str]]:
    """What gives the requests that this process has sent so far, by what they ask for."""
    sent: Counter[str] = Counter()

    def count(request: Any) -> None:
        path = request.url.path.partition("/api/")[2]
        sent[f"{request.method} {path.partition('/')[0]}"] += 1

    send, asend = PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send

    def counted(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        count(request)
        return send(self, request, *args, **kwargs)

    async def acounted(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        count(request)
        return await asend(self, request, *args, **kwargs)

    PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send = counted, acounted
    return sent.copy


def main(rounds: int, wanted: Sequence[str]) -> None:
    levels = {level: LEVELS[level] for level in dict.fromkeys(["off", *(wanted or LEVELS)])}
    requests, shuffler = count_requests(), random.Random(0)
    seconds: dict[str, list[float]] = {level: [] for level in levels}
    processor: dict[str, list[float]] = {level: [] for level in levels}
    calls: dict[str, list[Counter[str]]] = {level: [] for level in levels}
    with prefect_test_harness(server_startup_timeout=200):
        run()  # what is only done once
        for _ in range(rounds):
            for level in shuffler.sample(list(levels), len(levels)):
                os.environ.update(
                    {f"PREFECT_INTEGRATIONS_LIFESPAN_{name}": value for name, value in levels[level].items()}
                )
                before, started, used = requests(), time.perf_counter(), time.process_time()
                run()
                seconds[level].append(time.perf_counter() - started)
                processor[level].append(time.process_time() - used)
                calls[level].append(requests() - before)

    def ratio(measured: dict[str, list[float]], level: str) -> str:
        return f"{statistics.median(one / off for one, off in zip(measured[level], measured['off'], strict=True)):.3f}"

    rows = [
        [
            level,
            f"{statistics.median(seconds[level]):.3f} s",
            ratio(seconds, level),
            ratio(processor, level),
            f"{statistics.median(sum(counter.values()) for counter in calls[level]):g}",
        ]
        for level in levels
    ]
    headers = ["", "a run", "ratio", "of processor time", "requests"]
    print(table(f"Seeing a run of 10 resources and 100 tasks, {rounds} rounds", headers, rows))
    for level in levels:
        print(f"Requests, {level}: {dict(calls[level][-1])}")
    print(surroundings("prefect", "dependency-injector"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15, sys.argv[2:])
