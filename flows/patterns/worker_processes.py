"""Worker processes: the tasks run elsewhere, and each process opens what its tasks need, once, and closes it.

By hand: a connection cannot be pickled, so every task connects for itself, or a pool's initialiser fills a global that
nobody closes. Here what travels is a reference to the container; the flow looks as it does in one process.
"""

import os
import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_lifespan import Provide, inject, lifespan


def open_calculator(path: str) -> Iterator[sqlite3.Connection]:
    calculator = sqlite3.connect(path, check_same_thread=False)
    try:
        yield calculator
    finally:
        calculator.close()


class Calculations(containers.DeclarativeContainer):
    calculator = providers.Resource(open_calculator, path=":memory:")


@task
@inject
def square(number: int, calculator: sqlite3.Connection = Provide[Calculations.calculator]) -> tuple[int, int]:
    return os.getpid(), calculator.execute("SELECT ? * ?", (number, number)).fetchone()[0]


@flow(name="squares", task_runner=ProcessPoolTaskRunner(max_workers=2))  # pyright: ignore  Prefect's own types differ
@lifespan(Calculations, eager=False)  # the flow itself calculates nothing, so nothing opens here
def squares(numbers: list[int]) -> str:
    results = square.map(numbers).result()
    elsewhere = os.getpid() not in {pid for pid, _ in results}
    return f"{[result for _, result in results]}, calculated in {'other processes' if elsewhere else 'this process'}"


def demo() -> str:
    """Four tasks on two processes, which use the Prefect API that this one has, the embedded one too."""
    with get_client(sync_client=True) as client, temporary_settings({PREFECT_API_URL: str(client.api_url)}):
        return squares([1, 2, 3, 4])


if __name__ == "__main__":  # worker processes import this file: without this line each would run the flow again
    print(demo())
