"""What it costs to see a run: a flow with 10 resources and 100 tasks, with everything off, with events, with all of it.

`python -m benchmarks.observing [ROUNDS] [LEVEL...]` (8 rounds take two minutes) runs them in one process against an API of
its own, each once a round and in an order that changes, so that what else the machine does hits all of them alike. A figure is
the lower quartile of its rounds, as what disturbs a run only adds to it; "off again" is off once more, and shows how far two
equal ones are apart. Each run begins when the API has recorded the one before: it takes seconds for that, in which the first
request of the next run would wait. Requests are Prefect's to the API, with the seconds that the run's own threads waited for
their answers; log lines go in batches of Prefect's from a thread of its own, and events by a socket.
"""

from __future__ import annotations

import gc
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from benchmarks._harness import surroundings, table
from prefect_lifespan import Provide, inject, lifespan

TASKS = 100
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
COMPARED = ("off", "off again", "events", "all of it")


@task
@inject
def use(number: int, resource: str = Provide[App.resource_9]) -> int:
    return number


@flow
@lifespan(App)
def run() -> int:
    return len(use.map(range(TASKS)).result())


@dataclass
class Requests:
    """What this process has asked the API for, and how long its answers took."""

    sent: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0  # those of log lines are waited for by nobody

    def watch(self) -> None:
        """Count those of Prefect's clients from now on."""
        send, asend, note = PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send, self._note

        def watched(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return send(self, request, *args, **kwargs)
            finally:
                note(request, time.perf_counter() - started)

        async def awatched(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            note(request, 0.0)
            return await asend(self, request, *args, **kwargs)

        PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send = watched, awatched

    def _note(self, request: Any, seconds: float) -> None:
        path = request.url.path.partition("/api/")[2]
        self.sent[f"{request.method} {path.partition('/')[0]}"] += 1
        self.seconds += seconds


@dataclass
class Measured:
    """One run."""

    seconds: float
    processor: float
    waited: float
    sent: Counter[str]


def measure(requests: Requests) -> Measured:
    """Run once, and wait until the API has recorded that."""
    gc.collect()
    before, waited = requests.sent.copy(), requests.seconds
    started, used = time.perf_counter(), time.process_time()
    state = run(return_state=True)
    seconds, waited, asking = time.perf_counter() - started, requests.seconds - waited, time.thread_time()
    recorded(str(state.state_details.flow_run_id))
    # With what other threads still had to send when the run had ended, and without what this one has asked since.
    processor = time.process_time() - used - (time.thread_time() - asking)
    return Measured(seconds, processor, waited, requests.sent - before)


def recorded(flow_run: str) -> None:
    """Wait until the API knows that all tasks of a run are done, and writes what it is given: it says 503 while it cannot."""
    done = {"flow_runs": {"id": {"any_": [flow_run]}}, "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    until = time.monotonic() + 60
    with httpx.Client(base_url=str(get_current_settings().api.url), timeout=60) as api:

        def answers(path: str, asked: dict[str, Any], wanted: Callable[[Any], bool]) -> None:
            while not ((answer := api.post(path, json=asked)).is_success and wanted(answer.json())):
                assert time.monotonic() < until, f"the API has recorded the run: {answer.text}"
                time.sleep(0.2)

        answers("/task_runs/count", done, lambda count: count == TASKS)
        answers("/artifacts/", {"key": "recorded"}, lambda _: True)


def main(rounds: int, wanted: Sequence[str]) -> None:
    levels = list(dict.fromkeys(["off", *(wanted or COMPARED)]))
    requests, shuffler = Requests(), random.Random(0)
    requests.watch()
    runs: dict[str, list[Measured]] = {level: [] for level in levels}
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    # Prefect joins the thread of its heartbeats at the end of a run, which takes up to a second, at random.
    no_heartbeats = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with prefect_test_harness(server_startup_timeout=200), no_heartbeats:
        measure(requests)  # what is only done once
        for _ in range(rounds):
            for level in shuffler.sample(levels, len(levels)):
                os.environ.update(
                    {f"PREFECT_INTEGRATIONS_LIFESPAN_{name}": value for name, value in LEVELS[level].items()}
                )
                runs[level].append(measure(requests))

    def figure(level: str, what: str) -> float:
        return statistics.quantiles([getattr(each, what) for each in runs[level]], n=4, method="inclusive")[0]

    def ratio(level: str, what: str) -> str:
        return f"{figure(level, what) / figure('off', what):.3f}"

    rows = [
        [
            level,
            f"{figure(level, 'processor'):.3f} s",
            ratio(level, "processor"),
            f"{figure(level, 'seconds'):.3f} s",
            ratio(level, "seconds"),
            f"{figure(level, 'waited'):.3f} s",
            f"{statistics.median(each.sent.total() for each in runs[level]):g}",
        ]
        for level in levels
    ]
    headers = ["", "processor time", "ratio", "a run", "ratio", "of it for the API", "requests"]
    print(table(f"Seeing a run of 10 resources and {TASKS} tasks, {rounds} rounds", headers, rows))
    for level in levels:
        print(f"Requests, {level}: {dict(runs[level][-1].sent)}")
    print(surroundings("prefect", "dependency-injector"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8, sys.argv[2:])
