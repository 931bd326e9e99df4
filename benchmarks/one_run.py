"""What a lifespan adds to a flow run in this process: `python -m benchmarks.one_run`.

Ten resources and many tasks, against the same flow that opens and closes them by hand; and an empty container around an
empty flow, against the empty flow. Prefect logs errors only, in both: a line for each opening and closing comes on top.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from time import process_time
from typing import Any

from dependency_injector import containers, providers

from benchmarks._harness import declare, duration, surroundings, table
from benchmarks._task_runners import prefect_api
from prefect_lifespan import Provide, inject, lifespan

RESOURCES = 10


def opened() -> Iterator[object]:
    yield object()


class Nothing(containers.DeclarativeContainer):
    pass


App: Any = declare("App", {f"r{number}": providers.Resource(opened) for number in range(RESOURCES)})


Run = Callable[[], object]


def submitted(task: Any, tasks: int) -> None:
    for future in [task.submit(number) for number in range(tasks)]:
        future.result()


def called(task: Any, tasks: int) -> None:
    for number in range(tasks):
        task(number)


def by_hand(call: Callable[[Any, int], None], tasks: int) -> Run:
    """Tasks find the resource in a variable, which is no parameter of theirs: nothing is hashed for it."""
    from prefect import flow, task

    held: list[object] = []

    @task
    def plain(number: int) -> object:
        return held[-1] and number

    @flow(name="by hand")
    def run() -> None:
        with ExitStack() as stack:
            held[:] = [stack.enter_context(contextmanager(opened)()) for _ in range(RESOURCES)]
            call(plain, tasks)

    return run


def in_a_lifespan(call: Callable[[Any, int], None], tasks: int) -> Run:
    from prefect import flow, task

    @task
    @inject
    def injected(number: int, resource: Any = Provide[App.r0]) -> object:
        return resource and number

    @flow(name="in a lifespan")
    @lifespan(App)
    def run() -> None:
        call(injected, tasks)

    return run


def empty() -> Run:
    from prefect import flow

    @flow(name="empty")
    def run() -> None: ...

    return run


def empty_in_a_lifespan() -> Run:
    from prefect import flow

    @flow(name="empty, in a lifespan")
    @lifespan(Nothing)
    def run() -> None: ...

    return run


def pairs(tasks: int) -> dict[str, tuple[Run, Run]]:
    """What is compared: a flow without the library and one with it, by name."""
    return {
        f"{tasks} tasks, submitted": (by_hand(submitted, tasks), in_a_lifespan(submitted, tasks)),
        f"{tasks} tasks, called": (by_hand(called, tasks), in_a_lifespan(called, tasks)),
        "an empty flow, an empty container": (empty(), empty_in_a_lifespan()),
    }


@contextmanager
def noted_requests() -> Iterator[list[str]]:
    """What this process asks the API meanwhile: methods and paths, without the numbers of runs in them."""
    from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

    sent: list[str] = []
    send, asend = PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send

    def note(request: Any) -> None:
        sent.append(f"{request.method} {re.sub('[0-9a-f-]{36}', 'ID', request.url.path)}")

    def noting(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        note(request)
        return send(self, request, *args, **kwargs)

    async def anoting(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        note(request)
        return await asend(self, request, *args, **kwargs)

    PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send = noting, anoting
    try:
        yield sent
    finally:
        PrefectHttpxSyncClient.send, PrefectHttpxAsyncClient.send = send, asend


def requests_of(run: Run) -> list[str]:
    with noted_requests() as sent:
        run()
        return list(sent)


def seconds_of(run: Run) -> float:
    """Processor time of one run, of all threads of this process."""
    started = process_time()
    run()
    return process_time() - started


def row(name: str, both: tuple[Run, Run], rounds: int) -> list[str]:
    """Each round runs both, in an order that changes; by how much the second takes longer is told round by round."""
    requests = [requests_of(run) for run in both]  # and so both have run once
    shuffler = random.Random(0)
    taken: list[tuple[float, float]] = []
    for _ in range(rounds):
        order = [0, 1]
        shuffler.shuffle(order)
        seconds = {which: seconds_of(both[which]) for which in order}
        taken.append((seconds[0], seconds[1]))
    plain, ours = (statistics.median(each) for each in zip(*taken, strict=True))
    ratios = sorted(with_it / without for without, with_it in taken)
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    cells = (duration(plain), duration(ours), f"{statistics.median(ratios):.3f}x", f"{low:.3f}x", f"{high:.3f}x")
    return [name, *cells, *(f"{len(each)}" for each in requests)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.one_run", description=__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="pairs of runs (default: %(default)s)")
    options = parser.parse_args(arguments)
    with prefect_api():
        rows = [row(name, both, options.rounds) for name, both in pairs(options.tasks).items()]
    headers = ["a run of", "without", "with it", "ratio", "lower quartile", "upper quartile", "requests", "with it"]
    print(surroundings("prefect-lifespan", "dependency-injector", "prefect"))
    print(f"{options.rounds} rounds; {RESOURCES} resources where there are tasks\n")
    print(table("Processor time of a flow run in this process", headers, rows))


if __name__ == "__main__":
    main()
