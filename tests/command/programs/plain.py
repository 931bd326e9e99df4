"""A container and its settings, which need no Prefect."""

from collections.abc import Iterator

from dependency_injector import containers, providers
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from prefect_lifespan import ProcessResource, TaskResource, resource


class Settings(BaseSettings):
    plain_url: str = "postgresql://me:hunter22@host/db"
    plain_key: SecretStr = SecretStr("hunter23")


def open_db(url: str) -> Iterator[str]:
    yield url


class Plain(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)
    db = providers.Resource(resource(health_check=str.upper)(open_db), settings.provided.plain_url)
    session = TaskResource(open_db, db)
    model = ProcessResource(open_db, "model")


instance = Plain()


class Other(containers.DeclarativeContainer):
    thing = providers.Object(1)
