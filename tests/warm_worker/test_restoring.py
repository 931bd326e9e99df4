"""What a run changes of a warm process, and what the next one finds of it."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefect_lifespan.warm_worker.restoring import as_it_was, loop_as_it_was
from prefect_lifespan.warm_worker.running import run_on_loop


def test_environment_and_signals_are_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    handlers = [signal.getsignal(number) for number in numbers]
    with as_it_was({"OF_THE_RUN": "here"}):
        assert os.environ["OF_THE_RUN"] == "here"
        os.environ |= {"KEPT": "changed", "ADDED": "by the flow"}
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])

    assert (os.environ["KEPT"], os.environ.get("ADDED"), os.environ.get("OF_THE_RUN")) == ("before", None, None)
    assert [signal.getsignal(number) for number in numbers] == handlers
    assert signal.SIGUSR2 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_timer_that_a_run_leaves_behind_ends_with_it() -> None:
    """Its handler is gone with the run, and by default the signal ends the process."""
    with as_it_was({}):
        signal.signal(signal.SIGVTALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_VIRTUAL, 60)

    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL


def test_blocking_code_that_asks_for_a_loop_and_closes_it_has_one_of_its_own_in_each_run() -> None:
    async def answer() -> int:
        return 42

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        for _ in range(2):
            with as_it_was({}):
                found = asyncio.get_event_loop()
                assert found is not loop
                assert found.run_until_complete(answer()) == 42
                found.close()
                assert asyncio.run(answer()) == 42
        assert runner.run(answer()) == 42


def test_loggers_that_a_run_has_turned_off_are_on_again() -> None:
    names = ("prefect.flow_runs", "prefect.flow_runs.lifespan", "prefect_lifespan")
    prefects, mine, root = [*map(logging.getLogger, names)], logging.getLogger("of_this_test"), logging.getLogger()
    before = root.handlers[:], root.level
    try:
        with as_it_was({}):
            logging.config.dictConfig({"version": 1})
            assert all(logger.disabled for logger in prefects)
        assert not any(logger.disabled for logger in prefects)
        assert mine.disabled  # what others have configured stays
    finally:
        mine.disabled = False
        root.handlers[:], root.level = before


def test_logging_that_a_run_has_turned_off_altogether_is_on_again() -> None:
    with as_it_was({}):
        logging.disable(logging.CRITICAL)
    assert logging.getLogger("prefect.flow_runs").isEnabledFor(logging.ERROR)


def test_what_a_run_sets_on_the_processs_loop_is_as_it_was() -> None:
    async def sets() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        loop.set_exception_handler(lambda *_: None)
        loop.set_debug(True)
        with ThreadPoolExecutor(1) as threads:
            loop.set_default_executor(threads)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        with loop_as_it_was(loop):
            run_on_loop(sets(), runner)

        assert not loop.remove_signal_handler(signal.SIGUSR1)
        assert loop.get_exception_handler() is None
        assert not loop.get_debug()
        assert run_on_loop(asyncio.to_thread(time.monotonic), runner)
