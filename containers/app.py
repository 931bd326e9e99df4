"""The application's container: everything a flow may ask for, and how it is made.

Plain dependency-injector. What is declared first opens first where nothing else decides, so the API is asked
before anything is written: a run that cannot read leaves no empty warehouse behind.
"""

from __future__ import annotations

from dependency_injector import containers, providers

from containers.resources import open_orchestrator, open_reports, open_warehouse
from containers.services.history import HistoryStore
from containers.services.publisher import Publisher
from containers.services.runs import RunSource
from containers.settings import Settings


class AppContainer(containers.DeclarativeContainer):
    """The reference application: a warehouse, the Prefect API, a folder for reports, and the services on them."""

    settings = providers.Singleton(Settings)

    orchestrator = providers.Resource(open_orchestrator, timeout_seconds=settings.provided.orchestrator.timeout_seconds)
    warehouse = providers.Resource(
        open_warehouse,
        url=settings.provided.warehouse_url,
        connect_timeout_seconds=settings.provided.warehouse.connect_timeout_seconds,
    )
    reports = providers.Resource(open_reports, folder=settings.provided.report_folder)

    runs = providers.Factory(RunSource, client=orchestrator, page_size=settings.provided.orchestrator.page_size)
    history = providers.Factory(HistoryStore, engine=warehouse)
    publisher = providers.Factory(Publisher, folder=reports)
