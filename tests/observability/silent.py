"""What stands between a run and its API, and can fall silent: it takes what is sent to it, and answers nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


class Between:
    """Passes bytes on in both directions, as long as it answers; what came in meanwhile goes on afterwards."""

    def __init__(self, api: str) -> None:
        self._api = urlsplit(api)
        self._loop = asyncio.new_event_loop()
        self._answers = asyncio.Event()
        self._answers.set()
        self.address: str = ""

    def fall_silent(self) -> None:
        """Answer nothing from now on."""
        self._loop.call_soon_threadsafe(self._answers.clear)

    def answer(self) -> None:
        """Answer again, what was asked meanwhile too."""
        self._loop.call_soon_threadsafe(self._answers.set)

    async def _meet(self, asked: asyncio.StreamReader, answering: asyncio.StreamWriter) -> None:
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

    @classmethod
    @contextmanager
    def of(cls, api: str) -> Iterator[Between]:
        """Stand before an API at an address of its own."""
        between = cls(api)
        server = between._loop.run_until_complete(asyncio.start_server(between._meet, "127.0.0.1", 0))
        host, port = server.sockets[0].getsockname()
        between.address = f"http://{host}:{port}{between._api.path}"
        thread = threading.Thread(target=between._loop.run_forever)
        thread.start()
        try:
            yield between
        finally:
            between._loop.call_soon_threadsafe(between._loop.stop)
            thread.join()
            server.close()
            for task in (tasks := asyncio.all_tasks(between._loop)):
                task.cancel()
            between._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            between._loop.close()
