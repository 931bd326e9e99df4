import threading
from typing import Any

from dependency_injector import containers, providers
from prefect import flow
from prefect import task_runners as runners
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_lifespan import Provide, lifespan

RUNNER: Any = ProcessPoolTaskRunner()


class Locks(containers.DeclarativeContainer):
    lock = providers.Resource(lambda: "lock")


@flow(task_runner=RUNNER)  # finding: cannot-travel
@lifespan(Locks, overrides={"lock": threading.Lock()})
def run(lock: object = Provide[Locks.lock]) -> None: ...


@flow
@lifespan(Locks, overrides={"lock": threading.Lock()})
def run_in_threads(lock: object = Provide[Locks.lock]) -> None: ...


@flow  # finding: cannot-travel
@lifespan(Locks, overrides={"lock": threading.Lock()})
def run_elsewhere(lock: object = Provide[Locks.lock]) -> None: ...


def main() -> None:
    run_elsewhere.with_options(name="elsewhere", task_runner=ProcessPoolTaskRunner(max_workers=2))()  # pyright: ignore  Prefect's own types differ
    run_in_threads.with_options(task_runner=runners.ThreadPoolTaskRunner())()  # pyright: ignore  Prefect's own types differ
