"""Prefect's API as a place that settings come from: asked once, from a thread of its own, and not waited for for ever."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any

from prefect_lifespan.masking import masked, summary_of
from prefect_lifespan.run_context import run_context

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

# False for who only looks at a program: no server is started for that.
may_be_asked: ContextVar[bool] = ContextVar("prefect_lifespan_api_may_be_asked", default=True)

_PAGE = 200  # documents that the API gives at a time


class PrefectApi:
    """What one making of settings asks of the API, for Secret blocks and Variables alike.

    `failure` says why it could not be asked. Then it is not asked again, which would take the same time once more, and
    what was not looked up is told once for all (`warn`).
    """

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.failure: str | None = None
        self._unread: list[str] = []  # what would have been looked up, in words

    def variables(self, names: Sequence[str], beginnings: Sequence[str]) -> dict[str, Any]:
        """The values of the Variables that have one of these names, or begin so."""

        def ask(client: SyncPrefectClient) -> dict[str, Any]:
            found = _found(client, "/variables/filter", "variables", names, beginnings, {})
            return {each["name"]: each["value"] for each in found}

        return self._asked(ask, "Variables", [*names, *beginnings])

    def secrets(self, names: Sequence[str], beginnings: Sequence[str]) -> dict[str, Any]:
        """The values of the Secret blocks that have one of these names, or begin so."""
        of_secrets = {"block_types": {"slug": {"any_": ["secret"]}}, "include_secrets": True}

        def ask(client: SyncPrefectClient) -> dict[str, Any]:
            found = _found(client, "/block_documents/filter", "block_documents", names, beginnings, of_secrets)
            return {each["name"]: each["data"].get("value") for each in found}

        return self._asked(ask, "Secret blocks", [*names, *beginnings])

    def _asked(
        self, ask: Callable[[SyncPrefectClient], dict[str, Any]], what: str, names: Sequence[str]
    ) -> dict[str, Any]:
        if not names or not may_be_asked.get():
            return {}
        if self.failure is None:
            try:
                return self._answer(ask)
            except TimeoutError:
                why = f"no answer within {self.timeout_seconds:g} s"
            except Exception as error:
                why = summary_of(error)
            address = masked(_address())
            self.failure = f"Prefect's API {address} cannot be asked: {why}"
        self._unread.append(f"{what}: {', '.join(names)}")
        return {}

    def warn(self) -> None:
        """Tell in the log what was not looked up."""
        if self._unread:
            run_context.logger().warning("%s; not looked up, %s", self.failure, "; ".join(self._unread))
            self._unread.clear()

    def _answer(self, ask: Callable[[SyncPrefectClient], dict[str, Any]]) -> dict[str, Any]:
        # Imported when something is asked: whoever only declares settings does not load Prefect.
        from prefect.client.orchestration import get_client  # noqa: PLC0415

        # A client of our own, by settings of its own: the run's is in use in another thread. An embedded server that
        # has to be started first is waited for as long as Prefect's own setting says.
        client = get_client(sync_client=True, httpx_settings={"timeout": self.timeout_seconds})
        return _in_a_thread(lambda: _entered(client, ask), self.timeout_seconds)


def _address() -> str:
    from prefect.settings import PREFECT_API_URL  # noqa: PLC0415 - loaded already, to ask

    return str(PREFECT_API_URL.value() or "of the embedded server")


def _entered(client: SyncPrefectClient, ask: Callable[[SyncPrefectClient], dict[str, Any]]) -> dict[str, Any]:
    with client:
        return ask(client)


def _in_a_thread(work: Callable[[], dict[str, Any]], timeout_seconds: float) -> dict[str, Any]:
    """What `work` returns, waited for no longer than a time; the client's own patience, with its retries, is longer.

    Nothing waits for the thread any more at the end of the process.
    """
    done: Future[dict[str, Any]] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=copy_context().run, args=(run,), name="settings from Prefect's API", daemon=True).start()
    return done.result(timeout_seconds)


def _found(
    client: SyncPrefectClient,
    route: Any,
    kind: str,
    names: Sequence[str],
    beginnings: Sequence[str],
    more: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Every document of those names or beginnings: one request for all names, and one for each beginning."""
    wanted = [{"any_": [*names[at : at + _PAGE]]} for at in range(0, len(names), _PAGE)]
    for name in [*wanted, *({"like_": beginning} for beginning in beginnings)]:
        offset, is_full = 0, True
        while is_full:
            body = {**more, kind: {"name": name}, "limit": _PAGE, "offset": offset}
            response = client.request("POST", route, json=body)
            response.raise_for_status()
            page: list[dict[str, Any]] = response.json()
            yield from page
            offset, is_full = offset + _PAGE, len(page) == _PAGE


def as_name(spelling: str, between: str) -> str:
    """A name as Prefect allows it: lower case, with one character between words."""
    return re.sub(r"[^a-z0-9]", between, spelling.lower())
