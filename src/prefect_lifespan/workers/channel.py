"""A channel between a driver and worker processes on machines that can connect to it: who is there, and when it is over.

A worker process connects when it opens something of a lifespan, and keeps the connection while that is open. So the
driver knows whom to tell, the worker notices when its driver is gone, and the driver when a worker is.
"""

from __future__ import annotations

import os
import secrets
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from time import monotonic

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.engine.initialiser import Outcome
from prefect_lifespan.forks import children
from prefect_lifespan.lifespans.prefect_run import flow_logger
from prefect_lifespan.signal_safe import under
from prefect_lifespan.workers.listener import Address, Listener, joined
from prefect_lifespan.workers.messages import ANSWER_SECONDS, Closed, End, Heard, loaded
from prefect_lifespan.workers.remote_workers import Dumps, HasEnded, Joined
from prefect_lifespan.workers.worker_lifespan import Abandoned
from prefect_lifespan.workers.worker_lifespans import worker_lifespans


@dataclass(frozen=True, slots=True)
class ChannelLink:
    """Leads to the channel of the process that a lifespan belongs to."""

    address: Address
    key: bytes = field(repr=False)
    group: str
    is_last_word: bool = False

    def join(self, lifespan: str) -> Joined:
        """Connect, and listen for the end in a thread."""
        try:
            connection, is_live = joined(self.address, self.key, (self.group, os.getpid()))
        except OSError:
            raise HasEnded from None  # with its process
        if not is_live:
            connection.close()
            raise HasEnded
        threading.Thread(target=_listen, args=(connection, lifespan), name="lifespan-link", daemon=True).start()

        def farewell(report: CloseReport) -> None:
            with suppress(OSError):
                connection.send_bytes(Closed.dumped(report))

        return Joined(farewell)


def _listen(connection: Connection, lifespan: str) -> None:
    """Wait for the end of a lifespan, and close it."""
    outcome: Outcome
    try:
        end = loaded(connection.recv_bytes())
        assert isinstance(end, End)
        outcome, grace = end.outcome, end.grace
        connection.send_bytes(Heard(worker_lifespans.seconds_to_close(lifespan, grace)).dumped())
    except (OSError, EOFError):
        outcome, grace = Abandoned("the process that the lifespan belongs to has ended without closing it"), 0.0
    worker_lifespans.end(lifespan, outcome, grace)


@dataclass(slots=True)
class _Member:
    """A worker process that joined a lifespan; its connection shows when it ends."""

    connection: Connection
    pid: int
    deadline: float | None = None

    def allow(self, seconds: float | None) -> None:
        """Wait for its next message that long, and for the time that any process may need; None for no limit."""
        self.deadline = None if seconds is None else monotonic() + seconds + ANSWER_SECONDS


class Channel:
    """Where the worker processes of this process's lifespans connect."""

    def __init__(self, host: str) -> None:
        self._key = secrets.token_bytes(32)
        self._members: dict[str, list[_Member]] = {}
        self._lock = threading.Lock()
        self._listener = Listener(host, self._key, self._admit, patience_seconds=ANSWER_SECONDS)

    def link(self, *, is_last_word: bool) -> ChannelLink:
        """What lets worker processes connect as a new group, for a lifespan that is open from now on."""
        group = uuid.uuid4().hex
        under(self._lock, self._members.setdefault, group, list[_Member]())
        return ChannelLink(self._listener.address, self._key, group, is_last_word)

    def end(self, group: str, end: bytes, report: CloseReport) -> None:
        """Tell a group that its lifespan has ended, and wait for what they say, as long as they may take."""
        members = under(self._lock, self._members.pop, group, list[_Member]())
        for member in members:
            with suppress(OSError):  # it has ended meanwhile, and has said goodbye or not
                member.connection.send_bytes(end)
            member.allow(0.0)
        while members:
            for member in _ready(members):
                if _is_done(member, report):
                    members.remove(member)
                    member.connection.close()

    def leave_to_the_parent(self) -> None:
        """In a forked child: a worker would not notice its driver's end as long as the child has its connection, too."""
        self._listener.leave_to_the_parent()
        for member in [member for members in self._members.values() for member in members]:
            member.connection.close()

    def _admit(self, connection: Connection, words: tuple[str, int]) -> bool:
        """Let a worker process join its lifespan, and tell it whether that is open; then the connection is kept."""
        group, pid = words
        with self._lock:
            live = group in self._members
            if live:
                self._members[group].append(_Member(connection, pid))
            with suppress(OSError):  # it has left again, which is noticed at the end
                connection.send(live)
        return live


def _ready(members: list[_Member]) -> list[_Member]:
    """Those that have said something, or have ended, or whose time is up."""
    deadline = min((member.deadline for member in members if member.deadline is not None), default=None)
    seconds = None if deadline is None else max(0.0, deadline - monotonic())
    spoken = wait([member.connection for member in members], seconds)
    now = monotonic()
    late = [member for member in members if member.deadline is not None and member.deadline <= now]
    return [member for member in members if member.connection in spoken] or late


def _is_done(member: _Member, report: CloseReport) -> bool:
    """Hear what a worker process has to say; whether that was all."""
    try:
        message = loaded(member.connection.recv_bytes()) if member.connection.poll() else None
    except BlockingIOError:  # it has stopped within what it says
        message = None
    except (OSError, EOFError):
        flow_logger().error("Worker process %d ended without closing its resources", member.pid)
        return True
    if isinstance(message, Heard):
        member.allow(message.seconds)
        return False
    if isinstance(message, Closed):
        message.into(report)
    else:
        flow_logger().error("Worker process %d did not close its resources in time", member.pid)
    return True


class Channels:
    """This process's channels, by the address of the machine that they listen at; made when first asked for."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._lock = threading.Lock()

    def begin_anew(self) -> None:
        """In a forked child, which has nobody who listens at its parent's."""
        for channel in self._channels.values():
            channel.leave_to_the_parent()
        self._channels, self._lock = {}, threading.Lock()

    def at(self, host: str) -> Channel:
        """The channel at one of this machine's addresses."""
        return under(self._lock, self._at, host)

    def _at(self, host: str) -> Channel:
        if host not in self._channels:
            self._channels[host] = Channel(host)
        return self._channels[host]


channels: Channels = Channels()
children.begin_with(channels)
LOOPBACK = "127.0.0.1"


class ChannelWorkers:
    """Worker processes that are reached through a channel."""

    def __init__(self, channel: Channel, dumps: Dumps, *, is_last_word: bool = False) -> None:
        self._channel = channel
        self._dumps = dumps
        self.link: ChannelLink = channel.link(is_last_word=is_last_word)

    def ends_with(self, runner: object) -> bool:
        """They close by themselves when they end."""
        return False

    def close(self, outcome: Outcome, grace: float | None) -> CloseReport:
        """Close in all worker processes that joined the lifespan, side by side."""
        report = CloseReport("", outcome)
        self._channel.end(self.link.group, End.dumped(outcome, grace, self._dumps), report)
        return report
