"""A container of sixty providers, as a large application has it."""

from dependency_injector import containers, providers
from prefect import flow, task
from pydantic_settings import BaseSettings

from prefect_lifespan import ProcessResource, Provide, TaskResource, inject, lifespan


class Settings(BaseSettings):
    url: str = "x"


def opened(*a, **k):
    yield 1


async def opened_async(*a, **k):
    yield 1


class Service:
    def __init__(self, *a, **k): ...


class Storage(containers.DeclarativeContainer):
    settings = providers.Dependency()
    bucket = providers.Resource(opened, settings.provided.url)
    cache = ProcessResource(opened, settings.provided.url)
    index = providers.Resource(opened, bucket)
    archive = providers.Factory(Service, bucket, index)
    thumbnails = providers.Factory(Service, bucket, cache)
    uploads = TaskResource(opened, bucket)


class Gateways(containers.DeclarativeContainer):
    settings = providers.Dependency()
    session = providers.Resource(opened_async, settings.provided.url)
    payments = providers.Factory(Service, session)
    shipping = providers.Factory(Service, session)
    mail = providers.Factory(Service, session)
    search = providers.Resource(opened_async, session)
    recommendations_of_last_season = providers.Factory(Service, search)
    exchange_rates = providers.Factory(Service, session)


class Big(containers.DeclarativeContainer):
    config = providers.Configuration(default={"a": 1})
    settings = providers.Singleton(Settings)
    logging = providers.Resource(opened)
    warehouse = providers.Resource(opened, url=settings.provided.url)
    replica = providers.Resource(opened, url=settings.provided.url)
    ledger = TaskResource(opened, warehouse)
    session = TaskResource(opened, replica)
    model = ProcessResource(opened, settings.provided.url)
    tokenizer = ProcessResource(opened)
    metrics = providers.Resource(opened, settings)
    tracer = providers.Resource(opened, settings)
    storage = providers.Container(Storage, settings=settings)
    gateways = providers.Container(Gateways, settings=settings)
    customers = providers.Factory(Service, session)
    orders = providers.Factory(Service, ledger, metrics)
    invoices = providers.Factory(Service, ledger, storage.archive)
    refunds = providers.Factory(Service, ledger, gateways.payments)
    parcels = providers.Factory(Service, session, gateways.shipping)
    newsletters = providers.Factory(Service, customers, gateways.mail)
    catalogue = providers.Factory(Service, session, storage.thumbnails)
    prices = providers.Factory(Service, gateways.exchange_rates, replica)
    forecasts = providers.Factory(Service, model, tokenizer, replica)
    embeddings = providers.Factory(Service, model, tokenizer)
    similar = providers.Factory(Service, embeddings, gateways.search)
    stock = providers.Factory(Service, ledger, tracer)
    suppliers = providers.Factory(Service, session)
    returns = providers.Factory(Service, orders, stock)
    reports = providers.Factory(Service, replica, storage.archive)
    dashboards = providers.Factory(Service, reports, metrics)
    exports = providers.Factory(Service, reports, storage.uploads)
    audits = providers.Factory(Service, ledger, logging)
    alerts = providers.Factory(Service, gateways.mail, metrics)
    checkout = providers.Factory(Service, orders, refunds, prices)
    fulfilment = providers.Factory(Service, orders, parcels, stock)
    marketing = providers.Factory(Service, newsletters, similar)
    pricing = providers.Factory(Service, prices, forecasts)
    planning = providers.Factory(Service, forecasts, suppliers, stock)
    ranking = providers.Singleton(Service, similar, catalogue)
    quality = providers.Factory(Service, audits, reports)
    loyalty = providers.Factory(Service, customers)
    retention = providers.Factory(Service, loyalty, config.a)
    legacy_import = providers.Resource(opened, config.a)
    legacy_export = providers.Factory(Service, legacy_import)
    clock = providers.Object(1)
    limits = providers.Dict(a=clock)
    queue = providers.Resource(opened, settings)
    jobs = providers.Factory(Service, queue, tracer)


@task
@inject
def place_order(checkout=Provide[Big.checkout], limits=Provide[Big.limits]): ...
@task
@inject
def ship(fulfilment=Provide[Big.fulfilment], jobs=Provide[Big.jobs]): ...
@task
@inject
def plan_stock(planning=Provide[Big.planning]): ...
@task
@inject
def refresh(ranking=Provide[Big.ranking], pricing=Provide[Big.pricing]): ...
@task
@inject
def tell_customers(marketing=Provide[Big.marketing], alerts=Provide[Big.alerts]): ...
@flow
@lifespan(Big)
def daily(quality=Provide[Big.quality], invoices=Provide[Big.invoices]):
    place_order()
    ship()
    plan_stock()
    refresh()
    tell_customers()


@flow
@lifespan(Big)
def nightly(
    exports=Provide[Big.exports],
    dashboards=Provide[Big.dashboards],
    retention=Provide[Big.retention],
    returns=Provide[Big.returns],
    arch=Provide[Big.storage.container.index],
): ...
