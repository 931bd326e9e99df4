"""A program: a run that is terminated, and whose warehouse does not close."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow

from prefect_lifespan import Provide, lifespan


def fails_to_close() -> Iterator[str]:
    try:
        yield "warehouse"
    finally:
        raise OSError("cannot say goodbye to postgresql://me:hunter22@db/app")


class App(containers.DeclarativeContainer):
    warehouse = providers.Resource(fails_to_close)


@flow
@lifespan(App, report=True)
def terminated(warehouse: str = Provide[App.warehouse]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


if __name__ == "__main__":
    terminated()
