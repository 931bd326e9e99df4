"""The connection between a worker and a warm process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading

from prefect_lifespan.warm_worker.inbox import Inbox
from prefect_lifespan.warm_worker.messages import Close, packed

# Stands for a warm process whose flow forks a child that goes on, and that is gone without a word.
DIES = """
import asyncio, os, socket, sys
from prefect_lifespan.warm_worker.inbox import Inbox
Inbox(socket.socket(fileno=int(sys.argv[1])), asyncio.new_event_loop(), lambda: None)
if not os.fork():
    os.fork()
    sys.stdin.read()
    os._exit(0)
os._exit(3)
"""


def test_the_worker_sees_the_end_of_a_process_whose_forked_child_goes_on() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-W", "ignore", "-c", DIES, str(theirs.fileno())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[theirs.fileno()]) as process:  # noqa: S603
            theirs.close()
            assert process.wait(60) == 3
            ours.settimeout(10)
            assert ours.recv(1) == b""


def test_what_arrives_when_the_process_is_at_its_end_is_dropped() -> None:
    loop = asyncio.new_event_loop()
    ours, theirs = socket.socketpair()
    lost = threading.Event()
    with ours:
        Inbox(theirs, loop, lost.set)
        loop.close()
        ours.sendall(packed(Close()))
    assert lost.wait(10)
