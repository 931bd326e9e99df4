"""What stands between a run and its API, and can fall silent: it takes what is sent to it, and answers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from anyio.from_thread import BlockingPortal, start_blocking_portal


class Between:
    """Passes bytes on in both directions, as long as it answers; what came in meanwhile goes on afterwards."""

    def __init__(self, api: str, portal: BlockingPortal) -> None:
        self._api = urlsplit(api)
        self._portal = portal
        self._answers = asyncio.Event()
        self._answers.set()
        self._meetings: list[asyncio.Task[None]] = []

    @classmethod
    @contextmanager
    def of(cls, api: str) -> Iterator[tuple[Between, str]]:
        """Stand before an API; with the address for those who ask it."""
        with start_blocking_portal("asyncio") as portal:
            between = cls(api, portal)
            server = portal.call(asyncio.start_server, between._meet, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            try:
                yield between, f"http://{host}:{port}{between._api.path}"
            finally:
                portal.call(server.close)
                portal.call(between._leave)

    def fall_silent(self) -> None:
        """Answer nothing from now on."""
        self._portal.call(self._answers.clear)

    def answer(self) -> None:
        """Answer again, what was asked meanwhile too."""
        self._portal.call(self._answers.set)

    async def _meet(self, asked: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
        meeting = asyncio.current_task()
        assert meeting is not None
        self._meetings.append(meeting)
        await self._answers.wait()
        answered, asking = await asyncio.open_connection(self._api.hostname, self._api.port)
        await asyncio.gather(self._pass(asked, asking), self._pass(answered, answering))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while some := await reader.read(65536):
                await self._answers.wait()
                writer.write(some)
                await writer.drain()
        except ConnectionError:
            pass  # one that has waited enough has gone
        finally:
            writer.close()

    async def _leave(self) -> None:
        for meeting in self._meetings:
            meeting.cancel()
        await asyncio.gather(*self._meetings, return_exceptions=True)
