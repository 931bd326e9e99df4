from dependency_injector import containers, providers
from prefect import flow

from prefect_lifespan import Provide, lifespan


class Warehouse(containers.DeclarativeContainer):
    orders_db = providers.Resource(lambda: "db")
    forgotten_replica = providers.Resource(lambda: "replica")  # finding: unused-provider
    forgotten_ledger = providers.Factory(dict, forgotten_replica)  # finding: unused-provider


@flow
@lifespan(Warehouse)
def run(db: str = Provide[Warehouse.orders_db]) -> None: ...
