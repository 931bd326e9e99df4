"""A flow whose tasks use settings wherever they run, and tell no more of the secret than its length."""

from __future__ import annotations

import os
from typing import Any, cast

from dependency_injector import containers, providers
from prefect import flow, task
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from prefect_lifespan import Provide, inject, lifespan
from prefect_lifespan.settings import FlowSettings


class Settings(FlowSettings):
    model_config = SettingsConfigDict(env_prefix="TESTS_CONFIGURED_", env_file=None, toml_file=None)

    token: SecretStr
    size: int = 0


class App(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)
    config = providers.Configuration(pydantic_settings=[cast("Any", Settings)])
    db = providers.Resource(len, settings.provided.token.get_secret_value.call())
    other = providers.Resource(SecretStr.__len__, config.token)


@task
@inject
def use(
    number: int,
    db: int = Provide[App.db],
    other: int = Provide[App.other],
    settings: Settings = Provide[App.settings],
    size: int = Provide[App.config.size],
) -> tuple[int, set[int], set[int]]:
    return os.getpid(), {db, other}, {settings.size, size}


@flow
@lifespan(App)
def configured(marks: str) -> list[tuple[int, set[int], set[int]]]:
    return use.map(range(4)).result()
