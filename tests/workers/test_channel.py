"""The channel between a driver and its worker processes, when somebody connects who is none of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import pytest

from prefect_lifespan.engine import CloseReport
from prefect_lifespan.workers.channel import LOOPBACK, Channel, ChannelLink
from prefect_lifespan.workers.messages import End
from prefect_lifespan.workers.reach import HasEnded, cloudpickled

PATIENCE_SECONDS = 30
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
