"""Background tasks: submitted, never awaited, and still finished before the connection under them closes.

By hand: a list of futures and `wait(futures)` before every `close()`, on every way out of the flow. What is forgotten
runs on a closed connection, because Prefect waits for its task runner only after the flow function returned.
"""

from __future__ import annotations

import hashlib

from prefect import flow, task

from containers.app import AppContainer
from containers.services.journal import Journal
from prefect_lifespan import Provide, inject, lifespan


@task
@inject
def archive(page: int, journal: Journal = Provide[AppContainer.journal]) -> None:
    """Some work that takes a moment, and a line in the journal."""
    digest = hashlib.pbkdf2_hmac("sha256", str(page).encode(), b"archive", 200_000).hex()
    journal.write("archive", f"page {page}: {digest[:12]}")


@flow(name="archive-pages")
@lifespan(AppContainer)
def archive_pages(pages: int) -> str:
    """Submits a task for each page and returns at once; the lifespan waits for them before it closes."""
    for page in range(pages):
        archive.submit(page)
    return f"{pages} pages on their way"


def demo() -> str:
    """Runs with 4, 8 and 12 background tasks, and counts what they wrote."""
    with lifespan(AppContainer) as container:
        before = len(container.journal().entries("archive"))
    for pages in (4, 8, 12):
        archive_pages(pages)
    with lifespan(AppContainer) as container:
        return f"24 pages submitted, {len(container.journal().entries('archive')) - before} archived"


if __name__ == "__main__":
    print(demo())
