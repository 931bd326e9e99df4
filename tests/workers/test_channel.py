"""The channel between a driver and its worker processes, when somebody connects who is none of them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path
from time import monotonic

import pytest

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.forks import children
from prefect_lifespan.workers import channel as channel_module
from prefect_lifespan.workers import listener
from prefect_lifespan.workers.channel import LOOPBACK, Channel, ChannelLink, Channels
from prefect_lifespan.workers.messages import Closed, End, loaded
from prefect_lifespan.workers.remote_workers import HasEnded, cloudpickled

PATIENCE_SECONDS = 60
OPENING = "an opening"


@pytest.fixture(scope="module")
def channel() -> Channel:
    return Channel(LOOPBACK)


@pytest.fixture
def link(channel: Channel) -> Iterator[ChannelLink]:
    """An opening's, which is over with the test."""
    link = channel.link(is_last_word=False)
    yield link
    end(channel, link)


def end(channel: Channel, link: ChannelLink) -> CloseReport:
    report = CloseReport("", None)
    channel.end(link.group, End.dumped(None, None, cloudpickled), report)
    return report


def joins(link: ChannelLink) -> bool:
    """Whether a worker can join, in time."""
    with ThreadPoolExecutor(1) as pool:
        joined = pool.submit(link.join, OPENING).result(PATIENCE_SECONDS)
    joined.farewell(CloseReport("", None))
    return True


def silent(link: ChannelLink) -> None:
    """Connects, and says nothing."""
    with socket.create_connection(link.address):
        assert joins(link)


def leaving(link: ChannelLink) -> None:
    """Connects, and leaves again."""
    socket.create_connection(link.address).close()


def talking(link: ChannelLink) -> None:
    """Connects, and says what nobody understands."""
    with socket.create_connection(link.address) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
        assert joins(link)


def without_the_key(link: ChannelLink) -> None:
    """Connects as a worker does, with another key."""
    with pytest.raises(AuthenticationError):
        Client(link.address, authkey=b"another key")


@pytest.mark.parametrize("stranger", [silent, leaving, talking, without_the_key])
def test_a_stranger_keeps_no_worker_from_joining(stranger: Callable[[ChannelLink], None], link: ChannelLink) -> None:
    stranger(link)

    assert joins(link)


def test_an_opening_that_nobody_joined_is_over_at_once(channel: Channel, link: ChannelLink) -> None:
    report = end(channel, link)

    assert (report.raising, report.warned) == ([], [])
    with pytest.raises(HasEnded):
        link.join(OPENING)


def test_the_key_is_not_shown(link: ChannelLink) -> None:
    assert repr(link.key) not in repr(link)


def test_no_message_waits_for_the_acknowledgement_of_the_one_before_it(channel: Channel, link: ChannelLink) -> None:
    # Which Linux puts off for 40 ms where a message follows on another one in the same direction.
    joined = link.join(OPENING)
    (member,) = channel._members[link.group]
    with socket.fromfd(member.connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connected:
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    joined.farewell(CloseReport("", None))


def held() -> tuple[int, int]:
    """How many files and threads of channels this process has."""
    threads = [thread for thread in threading.enumerate() if thread.name == "lifespan-welcome"]
    return len([*Path("/proc/self/fd").iterdir()]), len(threads)


def soon(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    deadline, pause = monotonic() + PATIENCE_SECONDS, threading.Event()
    while not holds():
        assert monotonic() < deadline, what
        pause.wait(0.01)


def member_of(link: ChannelLink) -> Connection:
    """A worker process that has joined, as the driver sees it."""
    connection, is_live = listener.joined(link.address, link.key, (link.group, 4711))
    assert is_live
    return connection


def says_nothing(stranger: socket.socket, link: ChannelLink) -> None:
    """Connects, and waits."""


def says_a_byte_now_and_then(stranger: socket.socket, link: ChannelLink) -> None:
    """Never long silent, and never done."""

    def drip() -> None:
        with suppress(OSError):
            stranger.sendall(b"\0\0\1\0")
            while True:
                stranger.sendall(b"x")
                threading.Event().wait(0.02)

    threading.Thread(target=drip, daemon=True).start()


def announces_much(stranger: socket.socket, link: ChannelLink) -> None:
    """A message of 1 GiB."""
    stranger.sendall(b"\x40\0\0\0")


def knows_the_key_and_says_nothing(stranger: socket.socket, link: ChannelLink) -> None:
    """Shows that it is one of us, and not which."""
    stranger.settimeout(None)
    connection = listener._connection(stranger)
    listener.answer_challenge(connection, link.key)
    listener.deliver_challenge(connection, link.key)
    connection.close()


@pytest.mark.parametrize(
    "behaves", [says_nothing, says_a_byte_now_and_then, announces_much, knows_the_key_and_says_nothing]
)
def test_who_does_not_come_in_is_sent_away_and_an_idle_worker_stays(
    behaves: Callable[[socket.socket, ChannelLink], None],
    channel: Channel,
    link: ChannelLink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.3)
    with member_of(link) as worker:
        soon(lambda: held()[1] == 0, "everybody else has left")
        files, _ = held()
        with socket.create_connection(link.address, PATIENCE_SECONDS) as stranger:
            behaves(stranger, link)
            soon(
                lambda: held()[1] == 0 and held()[0] <= files + 1,
                "its files and its thread come back, but for its own end",
            )
            with suppress(ConnectionError):
                while stranger.recv(1000):
                    pass  # and it is told, after what was said to it
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(end, channel, link)
            assert isinstance(loaded(worker.recv_bytes()), End)
            worker.send_bytes(Closed.dumped(CloseReport("", None)))
            assert ending.result(PATIENCE_SECONDS).raising == []


def test_five_hundred_strangers_at_once_neither_use_up_files_nor_keep_a_worker_out(
    channel: Channel, link: ChannelLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CROWDED_SECONDS", 0.1)
    soon(lambda: held()[1] == 0, "everybody else has left")
    files, _ = held()
    with ExitStack() as strangers:
        for _ in range(500):
            stranger = strangers.enter_context(socket.socket())
            stranger.setblocking(False)
            stranger.connect_ex(link.address)
        soon(lambda: held()[1] > 0, "the first ones have come in")

        assert joins(link)

        guests_files, threads = held()
        assert threads <= listener.MOST_GUESTS + 10, "some may be on their way out"
        assert guests_files - files - 500 <= 2 * listener.MOST_GUESTS + 20
    soon(lambda: held()[1] == 0 and held()[0] <= files + 2, "all of them have left, but for the worker")


def test_a_worker_that_stops_within_a_message_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel_module, "ANSWER_SECONDS", 0.2)
    channel = Channel(LOOPBACK)
    speaking, listening = channel.link(is_last_word=False), channel.link(is_last_word=False)
    with member_of(speaking) as half_way, member_of(listening):
        os.write(half_way.fileno(), b"\0\0\1\0half")
        end(channel, speaking)
        assert "Worker process 4711 did not close its resources in time" in caplog.text

        caplog.clear()
        much = ValueError("x" * 50_000_000)
        channel.end(listening.group, End.dumped(much, None, cloudpickled), CloseReport("", None))
        assert "Worker process 4711" in caplog.text


def test_a_worker_whose_driver_has_gone_is_not_held_up_by_who_has_got_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "JOIN_SECONDS", 0.2)
    with socket.create_server((LOOPBACK, 0)) as silent, pytest.raises(HasEnded):
        ChannelLink(silent.getsockname(), b"a key", "a group").join(OPENING)

    other = Channel(LOOPBACK).link(is_last_word=False)
    with pytest.raises(HasEnded):
        ChannelLink(other.address, b"a key", "a group").join(OPENING)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
def test_a_forked_child_holds_nothing_of_its_parents_channels() -> None:
    def files() -> set[int]:
        """What is open in this process, in which other threads open and close as well."""
        open_here: set[int] = set()
        for descriptor in range(4096):
            with suppress(OSError):
                open_here.add(os.fstat(descriptor).st_ino)
        return open_here

    channels = Channels()
    children.begin_with(channels)
    channel = channels.at(LOOPBACK)
    link = channel.link(is_last_word=False)
    with member_of(link):
        soon(lambda: held()[1] == 0, "it has been welcomed")
        (member,) = channel._members[link.group]
        own = {os.fstat(each.fileno()).st_ino for each in (member.connection, channel._listener._listening)}
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, repr(files() & own).encode())
            os._exit(0)
        os.waitpid(child, 0)
        inherited = os.read(reading, 10_000).decode()
        for descriptor in (reading, writing):
            os.close(descriptor)

        assert own <= files()
        assert inherited == "set()"
