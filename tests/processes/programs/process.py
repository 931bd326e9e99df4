"""Resources of the process, and the ways that a process ends: `python -m tests.processes.programs.process <which>`."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from dependency_injector import containers, providers
from prefect import flow, task

from prefect_lifespan import ProcessResource, Provide, inject, lifespan, override
from tests.processes.programs.marks import Handle, blocking, mark


class App(containers.DeclarativeContainer):
    vocabulary = ProcessResource(blocking, "vocabulary")
    model = ProcessResource(blocking, "model", vocabulary)
    db = providers.Resource(blocking, "db", model)


@inject
def use(model: Handle = Provide[App.model]) -> Handle:
    assert model.state in {"open", "fake"}
    return model


@task
@inject
def ask(model: Handle = Provide[App.model]) -> int:
    assert model.state == "open"
    return id(model)


@flow
@lifespan(App)
def run() -> set[int]:
    return {ask.submit().result() for _ in range(3)}


def end_normally() -> None:
    run()
    mark("end")


def end_with_a_code() -> None:
    use()
    sys.exit(3)


def end_with_an_exception() -> None:
    use()
    raise ValueError("of the script")


def wait_for_a_signal() -> None:
    use()
    mark("body")
    threading.Event().wait(90)


def wait_for_a_signal_in_a_flow() -> None:
    flow(lifespan(App)(wait_for_a_signal))()


def wait_in_a_block() -> None:
    with lifespan(App):
        wait_for_a_signal()


def wait_in_a_flow_in_a_block() -> None:
    with lifespan(App):
        wait_for_a_signal_in_a_flow()


def wait_in_an_asynchronous_flow() -> None:
    @flow
    @lifespan(App)
    async def waiting() -> None:
        use()
        mark("body")
        await asyncio.Event().wait()

    asyncio.run(waiting())


def many() -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(contextvars.copy_context().run, run) for _ in range(3)]
        used = [pool.submit(use) for _ in range(8)]
        seen = set[int]().union(*(each.result() for each in runs), (id(each.result()) for each in used))
    mark(f"instances {len(seen)}")


def in_a_block() -> None:
    with lifespan(App):
        run()
        run()
        mark("end of block")
    mark("after block")
    use()
    mark("used again")


def overridden() -> None:
    fake = Handle("fake")
    fake.state = "fake"
    entered, left = threading.Event(), threading.Event()

    def elsewhere() -> None:
        entered.wait(60)
        mark(f"elsewhere {use().state}")
        left.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    with override(App, model=fake):
        entered.set()
        left.wait(60)
        mark(f"here {use().state}")
    mark(f"afterwards {use().state}")
    thread.join()


if __name__ == "__main__":
    if "handler" in sys.argv:  # as docs/limits.md advises
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    globals()[sys.argv[1]]()
