"""Calls of which one always runs: each waits for the next one to begin, until one is refused."""

from __future__ import annotations

import threading


def is_followed(begun: list[threading.Event], refused: threading.Event) -> bool:
    """Whether another call begins after this one, which is awaited; False where one has been refused."""
    another = threading.Event()
    begun.append(another)
    for event in begun[:-1]:
        event.set()
    while not another.wait(0.01):
        if refused.is_set():
            return False
    return True
