"""What `in_flight` rests on: the lock that a thread has taken tells whether it is that thread that asks."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest


def taken() -> Any:
    lock = threading.RLock()
    lock.acquire()
    return lock


def asked(home: Any) -> bool:
    return home._is_owned()


def test_a_lock_is_owned_by_the_thread_that_has_taken_it_and_by_no_other() -> None:
    home: Any = threading.RLock()
    assert not asked(home)
    with home:
        assert asked(home)
        with ThreadPoolExecutor(1) as other:
            assert not other.submit(asked, home).result()
            there = other.submit(taken).result()
            assert other.submit(asked, there).result()
    assert not asked(home)
    assert not asked(there)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_the_thread_that_forks_is_the_same_one_in_the_child() -> None:
    home = taken()
    with ThreadPoolExecutor(1) as other:
        there = other.submit(taken).result()
        child = os.fork()
        if not child:
            os._exit(0 if asked(home) and not asked(there) else 1)
        assert os.waitpid(child, 0)[1] == 0
