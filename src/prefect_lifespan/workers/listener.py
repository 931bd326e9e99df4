"""Who may speak on a channel: whoever shows in time that it knows the key. Anybody on the machine can connect.

Until then it is a guest, which costs this process two files and a thread. So each has a limited time, however slowly it
speaks, and there are so many at most; where more wait outside, those that dawdle leave earlier.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from time import monotonic
from typing import Any

Address = tuple[str, int]
Admit = Callable[[Connection, Any], bool]

HANDSHAKE_SECONDS = 10.0  # for a guest, where there is room
CROWDED_SECONDS = 1.0  # and where there is none: a worker on a busy machine needs some milliseconds
MOST_GUESTS = 64
JOIN_SECONDS = 60.0  # for a worker to get in, which may have to wait behind many that do not leave by themselves

_PAUSE_SECONDS = 0.1
_BACKLOG = 512


@dataclass(eq=False, slots=True)
class _Guest:
    """Someone who has connected, and has not shown yet that it may."""

    connected: socket.socket  # beside the connection: what turns it away must not meet a file that has been closed
    since: float = field(default_factory=monotonic)


class Listener:
    """Listens at an address, and hands over the connections of those that know the key, with their first words."""

    def __init__(self, host: str, key: bytes, admit: Admit, *, patience_seconds: float) -> None:
        self._key = key
        self._admit = admit
        self._patience_seconds = patience_seconds  # within a message of somebody who was admitted, or to one
        self._guests: list[_Guest] = []  # who came first, first
        self._changed = threading.Condition()
        self._listening = socket.create_server((host, 0), backlog=_BACKLOG)
        self.address: Address = self._listening.getsockname()[:2]
        threading.Thread(target=self._receive, name="lifespan-channel", daemon=True).start()

    def leave_to_the_parent(self) -> None:
        """In a forked child: let go of what nobody listens to here; the parent goes on with it."""
        for inherited in (self._listening, *(guest.connected for guest in self._guests)):
            inherited.close()

    def _receive(self) -> None:
        pause = threading.Event()
        while True:
            self._make_room()
            try:
                self._listening.settimeout(self._seconds_left())
                connected, _ = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:  # one who left again; or this process has no file left to open, for now
                pause.wait(_PAUSE_SECONDS)
                continue
            connected.settimeout(None)
            guest = _Guest(connected)
            with self._changed:
                self._guests.append(guest)
            try:
                threading.Thread(target=self._welcome, args=(guest,), name="lifespan-welcome", daemon=True).start()
            except RuntimeError:  # no thread left either
                self._leaves(guest)
                connected.close()
                pause.wait(_PAUSE_SECONDS)

    def _make_room(self) -> None:
        """Turn away those whose time is over, and where nobody else would fit in, wait for one who leaves."""
        with self._changed:
            if len(self._guests) >= MOST_GUESTS:
                left = self._guests[0].since + CROWDED_SECONDS - monotonic()
                self._changed.wait_for(lambda: len(self._guests) < MOST_GUESTS, max(0.0, left))
            limit = CROWDED_SECONDS if len(self._guests) >= MOST_GUESTS else HANDSHAKE_SECONDS
            now = monotonic()
            for guest in [guest for guest in self._guests if now - guest.since >= limit]:
                self._guests.remove(guest)
                _end(guest.connected)

    def _seconds_left(self) -> float | None:
        """Until the time of the next guest is over."""
        with self._changed:
            if not self._guests:
                return None
            return max(0.01, self._guests[0].since + HANDSHAKE_SECONDS - monotonic())

    def _leaves(self, guest: _Guest) -> bool:
        """It is no guest any more; whether it was still one."""
        with self._changed:
            if guest not in self._guests:
                return False
            self._guests.remove(guest)
            self._changed.notify()
            return True

    def _welcome(self, guest: _Guest) -> None:
        stays, connection = False, None
        with suppress(Exception):  # whatever a stranger says, or does not say
            connection = _connection(guest.connected)
            deliver_challenge(connection, self._key)
            answer_challenge(connection, self._key)
            words = connection.recv()
            if self._leaves(guest):
                _limit_waiting(guest.connected, self._patience_seconds)
                stays = self._admit(connection, words)
        self._leaves(guest)
        guest.connected.close()
        if connection is not None and not stays:
            connection.close()


def joined(address: Address, key: bytes, words: object) -> tuple[Connection, Any]:
    """The connection to a listener that has admitted this process after its first words, and the answer to them.

    Raises:
        OSError: nobody is there any more who knows the key.
    """
    deadline, pause = monotonic() + JOIN_SECONDS, threading.Event()
    while True:
        # Nobody who listens any more refuses at once.
        connected = socket.create_connection(address, max(0.01, deadline - monotonic()))
        try:
            return _introduced(connected, key, words, deadline)
        except (EOFError, ConnectionError):  # it had no room or time, or has ended just now
            if monotonic() >= deadline:
                raise TimeoutError from None
            pause.wait(_PAUSE_SECONDS)
        except (AuthenticationError, AssertionError, ValueError) as error:  # somebody else has got its address
            raise OSError from error


def _introduced(connected: socket.socket, key: bytes, words: object, deadline: float) -> tuple[Connection, Any]:
    connected.settimeout(None)
    with connected:
        connection = _connection(connected)
        timer = threading.Timer(max(0.0, deadline - monotonic()), _end, (connected,))
        timer.daemon = True
        timer.start()
        try:
            answer_challenge(connection, key)
            deliver_challenge(connection, key)
            connection.send(words)
            return connection, connection.recv()
        except BaseException:
            connection.close()
            raise
        finally:
            timer.cancel()


def _connection(connected: socket.socket) -> Connection:
    """A connection of its own, in which no message waits for the acknowledgement of the one before it.

    The other side may put that off for 40 ms.
    """
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(connected.dup().detach())


def _end(connected: socket.socket) -> None:
    """Wake up whoever reads from it or writes to it: the connection has ended."""
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _limit_waiting(connected: socket.socket, seconds: float) -> None:
    """Let reading and writing fail where the other side stops within a message; nobody reads before there is something."""
    if os.name != "posix":  # elsewhere the limit is written otherwise
        return
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
