from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


class Here(containers.DeclarativeContainer):
    mail = providers.Resource(lambda: "mail")


class There(containers.DeclarativeContainer):
    post = providers.Resource(lambda: "post")


@task  # finding: container-not-open
@inject
def send(mail: str = Provide[Here.mail], post: str = Provide[There.post]) -> None: ...


@flow
@lifespan(Here)
def run() -> None:
    send()


@flow  # finding: flow-without-lifespan
def run_without() -> None:
    send()
