"""Background tasks: submitted, never awaited, and still finished before the connection under them closes.

By hand: a list of futures and `wait(futures)` before every `close()`, on every way out of the flow. What is forgotten
runs on a closed connection, because Prefect waits for its task runner only after the flow function returned.
"""

import hashlib
import sqlite3
from collections.abc import Iterator

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import Provide, inject, lifespan


def open_archive(path: str) -> Iterator[sqlite3.Connection]:
    # Tasks write from several threads. By default sqlite3 begins a transaction itself, which two threads at once both try.
    archive = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        archive.execute("CREATE TABLE pages (number INTEGER, digest TEXT)")
        yield archive
        print(archive.execute("SELECT count(*) FROM pages").fetchone()[0], "pages in the archive when it closes")
    finally:
        archive.close()


class Archive(containers.DeclarativeContainer):
    archive = providers.Resource(open_archive, path=":memory:")


@task
@inject
def keep(page: int, archive: sqlite3.Connection = Provide[Archive.archive]) -> None:
    """Some work that takes a moment, and a row."""
    digest = hashlib.pbkdf2_hmac("sha256", str(page).encode(), b"archive", 200_000).hex()
    archive.execute("INSERT INTO pages VALUES (?, ?)", (page, digest))


@flow(name="archive-pages")
@lifespan(Archive)
def archive_pages(pages: int) -> str:
    """Submits a task for each page and returns at once; the lifespan waits for them before it closes."""
    for page in range(pages):
        keep.submit(page)
    return f"{pages} pages were submitted, and none awaited"


def demo() -> str:
    """Eight background tasks."""
    return archive_pages(8)


if __name__ == "__main__":
    print(demo())
