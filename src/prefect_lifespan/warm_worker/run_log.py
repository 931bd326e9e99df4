"""What runs log, sent to Prefect's API by one thread with one client, for as long as the process lives.

Prefect's own way to send at once is to stop all services of the process, that for events as well, which holds a connection:
the next line makes new ones, and the process keeps those that have stopped. That is nothing to a process that ends with its
run; here it was 0.1 MiB a run.
"""

from __future__ import annotations

import sys
import threading
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging.handlers import set_api_log_sink
from prefect.settings import (
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
    PREFECT_LOGGING_TO_API_BATCH_SIZE,
    PREFECT_LOGGING_TO_API_MAX_LOG_SIZE,
)

from prefect_lifespan.engine.loops import running_loop
from prefect_lifespan.forks import children
from prefect_lifespan.lifespans.prefect_run import LogSending, log_sending
from prefect_lifespan.masking import summary_of

# As long as Prefect waits for its own: whoever waits is at the end of a run, and an API may be away for long.
_FLUSH_SECONDS = 5.0
# Prefect's handler says in each line how large it is.
_SIZE = "__payload_size__"

Line = dict[str, Any]


class RunLog:
    """Takes what Prefect's handler would give to its service, and sends it in batches, as that would be."""

    def __init__(self) -> None:
        # Lines, and who waits until those before have been sent. A handler of a signal, which may log, interrupts its `put`
        # anywhere: other queues would wait for a lock that this thread holds.
        self._queue: SimpleQueue[Line | threading.Event] = SimpleQueue()

    def begin(self) -> None:
        """From now on it has what is logged in this process."""
        threading.Thread(target=self._send, name="warm process log", daemon=True).start()
        set_api_log_sink(self._queue.put)
        log_sending.now = self.flush
        children.begin_with(self)

    def begin_anew(self) -> None:
        """In a forked child, which has no such thread: Prefect's own services send what that logs."""
        set_api_log_sink(None)
        log_sending.now = LogSending().now

    def flush(self) -> None:
        """Send what has been logged; where no event loop runs, wait for that, for some seconds at the most."""
        sent = threading.Event()
        self._queue.put(sent)
        if running_loop() is None:
            sent.wait(_FLUSH_SECONDS)

    def _send(self) -> None:
        with get_client(sync_client=True) as client:
            while True:
                lines, waiting = self._batch()
                if lines:
                    _create(client, lines)
                if waiting is not None:
                    waiting.set()

    def _batch(self) -> tuple[list[Line], threading.Event | None]:
        """What is logged in one interval, or up to the size of one request; and who waits for that."""
        lines: list[Line] = []
        most = PREFECT_LOGGING_TO_API_BATCH_SIZE.value() - PREFECT_LOGGING_TO_API_MAX_LOG_SIZE.value()
        size, until = 0, None
        while not lines or size <= most:
            try:
                item = self._queue.get(timeout=None if until is None else max(0.0, until - monotonic()))
            except Empty:
                break
            if isinstance(item, threading.Event):
                return lines, item
            size += item.pop(_SIZE)
            lines.append(item)
            until = until or monotonic() + PREFECT_LOGGING_TO_API_BATCH_INTERVAL.value()
        return lines, None


def _create(client: SyncPrefectClient, lines: list[Line]) -> None:
    try:
        client.create_logs(lines)
    except Exception as error:  # it has tried several times, and says so as Prefect's own does
        sys.stderr.write(f"{len(lines)} lines of the log could not be sent to the API: {summary_of(error)}\n")
