from dependency_injector import containers, providers
from pydantic_settings import BaseSettings

from prefect_lifespan.settings import FlowSettings


class Settings(FlowSettings, env_prefix="COMMAND_TEST_", toml_file=None, env_file=None):
    url: str
    page_size: int = 100


class Numbers(BaseSettings):
    command_test_number: int = "none"  # type: ignore[assignment]

    model_config = {"validate_default": True}


class Configured(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)  # finding: missing-setting
    numbers = providers.Singleton(Numbers)  # finding: invalid-setting
    db = providers.Resource(lambda url: url, settings.provided.url)
