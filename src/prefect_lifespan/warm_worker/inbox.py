"""What the worker tells a warm process: read by a thread, handed to the event loop, whatever the main thread is doing."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from prefect_lifespan.warm_worker.messages import LENGTH_BYTES, Close, Message, length_of, packed, unpacked


class Inbox:
    """The process's side of the connection.

    When the worker is gone, `lost` is called, in a thread, and the last message is to close.
    """

    def __init__(self, connection: socket.socket, loop: asyncio.AbstractEventLoop, lost: Callable[[], None]) -> None:
        self._connection = connection
        self._loop = loop
        self._lost = lost
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        os.register_at_fork(after_in_child=self._let_go)
        threading.Thread(target=self._read, name="warm process inbox", daemon=True).start()

    async def get(self) -> Message:
        """The next message."""
        return await self._messages.get()

    def put(self, message: Message) -> None:
        """Add a message of the process's own; from any thread, and from the handler of a signal."""
        with suppress(RuntimeError):  # the loop has closed: the process is at its end, and asks for no message
            self._loop.call_soon_threadsafe(self._messages.put_nowait, message)

    def send(self, message: Message) -> None:
        """Tell the worker; nothing where that is gone."""
        try:
            self._connection.sendall(packed(message))
        except OSError:
            return  # the thread that reads has found it as well

    def _let_go(self) -> None:
        """In a child that a flow has forked: held there, the connection would outlive this process, and the worker wait."""
        descriptor = self._connection.detach()
        if descriptor >= 0:  # else a child of that child
            os.close(descriptor)

    def _read(self) -> None:
        with self._connection.makefile("rb") as frames:
            while len(head := _read_from(frames.read, LENGTH_BYTES)) == LENGTH_BYTES:
                body = _read_from(frames.read, length_of(head))
                self.put(unpacked(body))
        self._lost()
        self.put(Close())


def _read_from(read: Callable[[int], bytes], size: int) -> bytes:
    try:
        return read(size)
    except OSError:
        return b""
