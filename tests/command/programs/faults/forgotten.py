from dependency_injector import containers, providers
from dependency_injector.wiring import inject as stock_inject
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


class Forgotten(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")


@task  # finding: forgotten-inject
def store(n: int, db: str = Provide[Forgotten.db]) -> None: ...


@task  # finding: stock-inject
@stock_inject
def load(n: int, db: str = Provide[Forgotten.db]) -> None: ...


@task  # finding: provider-as-default
def look(n: int, db: object = Forgotten.db) -> None: ...


@flow  # finding: forgotten-lifespan
def show(db: str = Provide[Forgotten.db]) -> None: ...


def helper(db: str = Provide[Forgotten.db]) -> None: ...  # finding: forgotten-inject


@stock_inject  # finding: uninjected-helper
def wired_by_nobody(db: str = Provide[Forgotten.db]) -> None: ...


def tell(  # finding: forgotten-inject
    flow: object, flow_run: object, state: object, db: str = Provide[Forgotten.db]
) -> None: ...


@flow(on_completion=[tell])
@lifespan(Forgotten)
def run() -> None:
    store(1)
    load(1)
    look(1)
    helper()
    wired_by_nobody()


class Jobs:
    @staticmethod
    @task
    @inject
    def fine(n: int, db: str = Provide[Forgotten.db]) -> None: ...

    @staticmethod  # finding: forgotten-inject
    @task
    def forgotten(n: int, db: str = Provide[Forgotten.db]) -> None: ...
