from dependency_injector import containers, providers

from prefect_lifespan import TaskResource


def opened(*_: object):
    yield "open"


class Captive(containers.DeclarativeContainer):
    session = TaskResource(opened)
    cache = providers.Resource(opened, session)  # finding: captive-lifetime
    url: providers.Dependency = providers.Dependency()  # finding: undefined-dependency
