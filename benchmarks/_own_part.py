"""What the library itself adds to one submitted task: bytes and time, step by step, without it and with it.

A flow run submits to a task runner that takes Prefect's context as all of them do, and runs nothing. What it took goes
to one process more, which does with it what a worker process does. Run as a script, the container stands in `__main__`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import thread_time
from typing import Any, cast
from uuid import uuid4

import cloudpickle
from dependency_injector import containers, providers
from prefect import flow, task
from prefect.context import FlowRunContext, serialize_context
from prefect.futures import PrefectConcurrentFuture
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from benchmarks._harness import quiet_collector
from prefect_lifespan import Provide, inject, lifespan

TRACKING_THREADS, TRACKING = "tracking the future of a thread", "tracking any other future"
SERIALISING, PICKLING = "serialising the run's context", "pickling task and context"
UNPICKLING, ENTERING, CALLING = "unpickling them", "entering the scope", "calling the function"


def open_number() -> Iterator[int]:
    yield 1


class Shop(containers.DeclarativeContainer):
    number = providers.Resource(open_number)


@task
def plain_task(number: int) -> int:
    return number


@task
@inject
def injected_task(number: int, one: int = Provide[Shop.number]) -> int:
    return one


@dataclass(frozen=True)
class Sent:
    """What a task runner sends to a worker process for one task, beside its arguments and the environment."""

    task: Any
    context: dict[str, Any]


class TakesOnly(ProcessPoolTaskRunner):
    """Takes what it would send, and says that the task is done."""

    seconds = 0.0  # that the run's context took the last time

    def submit(self, task: Any, *_: Any, **__: Any) -> Any:
        run = FlowRunContext.get()
        assert run is not None
        start = thread_time()
        run.serialize()
        self.seconds = thread_time() - start
        return _done(Sent(task, serialize_context()))


def _done(result: object) -> PrefectConcurrentFuture[Any]:
    done: Future[object] = Future()
    done.set_result(result)
    return PrefectConcurrentFuture(task_run_id=uuid4(), wrapped_future=done)


def taken(runner: Any, task: Any) -> Sent:
    return runner.submit(task, {}).wrapped_future.result()


@dataclass(frozen=True)
class Step:
    """Median seconds of one step without the library and with it: of processor time, as other programs take turns."""

    name: str
    without: float
    with_it: float

    @property
    def added(self) -> float:
        return self.with_it - self.without


@dataclass(frozen=True)
class Travelling:
    """What travels with an ordinary task, and with an injected one in a lifespan: bytes of both.

    `first` are the seconds of processor time that the run's context takes at the first submission in a lifespan,
    `later` are those after.
    """

    task_bytes: list[int]
    context_bytes: list[int]
    first: float
    later: Step


@dataclass(frozen=True)
class Stopwatch:
    """Times single calls, by turns; each behind work of another kind, so that caches are as cold as in a real run."""

    repetitions: int
    between: Callable[[], object]

    def step(self, name: str, without: Callable[[], object], with_it: Callable[[], object]) -> Step:
        shuffler = random.Random(0)
        samples: dict[Callable[[], object], list[float]] = {without: [], with_it: []}
        order = list(samples)
        with quiet_collector():
            for _ in range(self.repetitions):
                shuffler.shuffle(order)
                for call in order:
                    self.between()
                    start = thread_time()
                    call()
                    samples[call].append(thread_time() - start)
        return Step(name, statistics.median(samples[without]), statistics.median(samples[with_it]))


@flow(task_runner=cast("Any", TakesOnly(max_workers=1)))
def travelling(repetitions: int) -> Travelling:
    """What a submission to a pool sends."""
    run = FlowRunContext.get()
    assert run is not None
    runner: Any = run.task_runner
    outside = copy_context()
    plain = taken(runner, plain_task)
    with lifespan(Shop, eager=False):
        injected = taken(runner, injected_task)
        first = runner.seconds
        watch = Stopwatch(repetitions, partial(_pickle_and_unpickle, plain))
        later = watch.step(SERIALISING, lambda: outside.run(run.serialize), lambda: run.serialize())  # noqa: PLW0108
    return Travelling(
        task_bytes=[len(cloudpickle.dumps(each.task)) for each in (plain, injected)],
        context_bytes=[len(cloudpickle.dumps(each.context)) for each in (plain, injected)],
        first=first,
        later=later,
    )


@flow(task_runner=cast("Any", TakesOnly(max_workers=1)))
def steps(repetitions: int) -> list[Step]:
    """All other steps of one submission to a pool."""
    run = FlowRunContext.get()
    assert run is not None
    plain = taken(run.task_runner, plain_task)
    with lifespan(Shop, eager=False), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as elsewhere:
        injected = taken(run.task_runner, injected_task)
        sent = cloudpickle.dumps(plain), cloudpickle.dumps(injected)
        there = elsewhere.submit(in_worker, *sent, repetitions).result()
        watch = Stopwatch(repetitions, partial(_pickle_and_unpickle, plain))
        pickling = watch.step(PICKLING, lambda: cloudpickle.dumps(plain), lambda: cloudpickle.dumps(injected))
    return [
        _tracking(TRACKING_THREADS, ThreadPoolTaskRunner, watch),
        _tracking(TRACKING, ProcessPoolTaskRunner, watch),
        pickling,
        *there,
    ]


def _tracking(name: str, runner_class: Any, watch: Stopwatch) -> Step:
    """What is done around a submission, so that the lifespan waits for it."""
    done = _done(None)

    class DoesNothing(runner_class):
        def submit(self, *_: Any, **__: Any) -> Any:
            return done

    @flow(task_runner=DoesNothing(max_workers=1))
    def tracked() -> Step:
        run = FlowRunContext.get()
        assert run is not None
        untracked = run.task_runner.submit
        with lifespan(Shop, eager=False):
            tracking = run.task_runner.submit
            return watch.step(name, lambda: untracked(injected_task, {}), lambda: tracking(injected_task, {}))

    return tracked()


def in_worker(plain_bytes: bytes, injected_bytes: bytes, repetitions: int) -> list[Step]:
    """What a worker process does for each task, once it has opened what the task needs."""
    plain: Sent = cloudpickle.loads(plain_bytes)
    injected: Sent = cloudpickle.loads(injected_bytes)
    watch = Stopwatch(repetitions, partial(_pickle_and_unpickle, plain))
    # A runner that does next to nothing when it is entered, so that what is entered with it can be seen.
    runner = ThreadPoolTaskRunner(max_workers=1)
    bringer = replace(injected.context["flow_run_context"]["flow"].task_runner, runner=runner)

    def enter(entered: Any) -> None:
        with entered.duplicate():
            pass

    with bringer.duplicate():
        injected.task.fn(1)  # which opens what it needs
        return [
            watch.step(UNPICKLING, lambda: cloudpickle.loads(plain_bytes), lambda: cloudpickle.loads(injected_bytes)),
            watch.step(ENTERING, lambda: enter(runner), lambda: enter(bringer)),
            watch.step(CALLING, lambda: plain.task.fn(1), lambda: injected.task.fn(1)),
        ]


def _pickle_and_unpickle(value: object) -> None:
    cloudpickle.loads(cloudpickle.dumps(value))


def travelling_from_main(repetitions: int) -> Travelling:
    """What travels where the container stands in `__main__`."""
    environment = {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    command = [sys.executable, "-m", "benchmarks._own_part", str(repetitions)]
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    raw = json.loads(said.splitlines()[-1])
    return Travelling(**{**raw, "later": Step(**raw["later"])})


if __name__ == "__main__":
    print(json.dumps(asdict(travelling(int(sys.argv[1])))))
