"""What `in_flight` and `signal_safe` rest on: whose lock it is can be asked, and a condition is a lock with those that wait."""

import inspect
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from prefect_lifespan.signal_safe import Condition, Promise


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


def test_a_condition_that_is_its_own_lock_is_entered_and_left_in_c_and_does_all_else_as_a_condition_does() -> None:
    condition, standard = Condition(), threading.Condition()
    assert {*vars(standard)} - {*vars(condition)} <= {
        "_lock", "acquire", "release", "_release_save", "_acquire_restore", "_is_owned"
    }  # fmt: skip
    for name in ("__enter__", "__exit__", "acquire", "release", "_release_save", "_acquire_restore", "_is_owned"):
        assert not inspect.isfunction(getattr(Condition, name)), name
    said = list[str]()

    def wait() -> None:
        with condition:
            condition.wait_for(lambda: said == ["told"], 20)
            said.append("heard")

    with ThreadPoolExecutor(1) as other:
        heard = other.submit(wait)
        with condition:
            said.append("told")
            condition.notify_all()
        heard.result(20)
    assert said == ["told", "heard"]
    with condition:
        assert not condition.wait(0.001)


def test_a_future_takes_no_lock_but_its_condition() -> None:
    locks = [name for name, value in vars(Future[None]()).items() if isinstance(value, threading.Condition)]

    assert locks == ["_condition"]
    assert isinstance(vars(Promise[None]())["_condition"], Condition)
