"""A script whose container stands in `__main__`: prints what it pickled, one in a line, as hexadecimal digits."""

from __future__ import annotations

from collections.abc import Iterator

import cloudpickle
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide

import prefect_lifespan.provider_pickling  # noqa: F401


class Client:
    def __init__(self, db: str) -> None:
        self.db = db


def open_db(url: str) -> Iterator[str]:
    yield f"connection to {url}"


class Base(containers.DeclarativeContainer):
    config = providers.Configuration(default={"url": "sqlite://"})
    db = providers.Resource(open_db, config.url)


class App(Base):
    wiring_config = containers.WiringConfiguration(modules=["json"], auto_wire=False)
    me = providers.Self()
    client = providers.ThreadSafeSingleton(Client, db=Base.db)
    url = client.provided.db
    fake = providers.Factory(str, "real")


App.fake.override(providers.Object("fake"))

for sent in (Provide[App.client], (App, Provide[App.client]), App()):
    print(cloudpickle.dumps(sent).hex())
