"""Resources that are well and unwell, each in its way; what happens is told in a file, line by line."""

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from dependency_injector import containers, providers

from prefect_lifespan import resource


def tell(line: str) -> None:
    with Path(os.environ["TOLD"]).open("a") as file:
        file.write(f"{line}\n")


def open_db() -> Iterator[str]:
    tell("open db")
    print("a line of the initialiser's own")
    try:
        yield "db"
    finally:
        tell("close db")


def open_cache() -> Iterator[str]:
    yield from open_db()


async def open_feed() -> AsyncIterator[str]:
    tell("open feed")
    try:
        yield "feed"
    finally:
        tell("close feed")


def open_api(password: str = "hunter22") -> str:  # noqa: S107 - invented
    raise ConnectionError(f"nobody at https://me:{password}@host")


def refuse(_: object) -> None:
    raise OSError("no answer")


attempts: list[int] = []


@resource(retries=1, retry_delay_seconds=0)
def open_late() -> str:
    attempts.append(1)
    if len(attempts) == 1:
        raise OSError("not yet")
    return "late"


def hang() -> Iterator[str]:
    tell("hangs")
    time.sleep(200)
    yield "never"


class Unwell(containers.DeclarativeContainer):
    db = providers.Resource(open_db)
    feed = providers.Resource(open_feed)
    api = providers.Resource(open_api)
    client = providers.Resource(dict, api)
    cache = providers.Resource(resource(health_check=refuse)(open_cache))
    late = providers.Resource(open_late)


class Hanging(containers.DeclarativeContainer):
    db = providers.Resource(open_db)
    hanging = providers.Resource(hang)


class AsyncHanging(containers.DeclarativeContainer):
    feed = providers.Resource(open_feed)
    hanging = providers.Resource(hang)


if "--ends" in sys.argv:
    sys.exit(3)
