from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


async def opened():
    yield "feed"


class Feeds(containers.DeclarativeContainer):
    feed = providers.Resource(opened)


@task  # finding: asynchronous-in-blocking-flow
@inject
def read(feed: str = Provide[Feeds.feed]) -> None: ...


@flow
@lifespan(Feeds)
def run() -> None:
    read()
