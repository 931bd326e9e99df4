"""A container whose provider, and whose task, take a sub-container as a whole."""

from typing import Any

from dependency_injector import containers, providers
from prefect import task

from prefect_lifespan import Provide, inject


class Gateways(containers.DeclarativeContainer):
    client = providers.Factory(dict)


class Empty(containers.DeclarativeContainer): ...


class Boxes(containers.DeclarativeContainer):
    gateways = providers.Container(Gateways)
    empty = providers.Container(Empty)
    alone = providers.Container(Gateways)
    dispatcher = providers.Factory(list, gateways, empty)


@task
@inject
def send(dispatcher: list[Any] = Provide[Boxes.dispatcher], gateways: Any = Provide[Boxes.gateways]) -> None: ...
