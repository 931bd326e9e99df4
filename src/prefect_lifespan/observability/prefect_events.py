"""Events of Prefect's, for automations: what opened, closed and failed to, as Prefect's API and UI know it.

They are sent by the thread that sends Prefect's own events, so that no run waits for an answer.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from prefect.events import Event as PrefectEvent
from prefect.events import emit_event

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import Choosy
from prefect_lifespan.observability.configured import configured
from prefect_lifespan.signal_safe import under

# `prefect.*` is Prefect's own.
_NAMES = {
    "opened": "prefect-lifespan.resource.opened",
    "open-failed": "prefect-lifespan.resource.open-failed",
    "closed": "prefect-lifespan.resource.closed",
    "close-failed": "prefect-lifespan.resource.close-failed",
}
_REMEMBERED = 1000  # events of openings whose closing says that it follows them


class Emitted(Choosy):
    """An observer that sends what happened in flow runs to Prefect, as far as the settings want it."""

    def __init__(self) -> None:
        self._opened: OrderedDict[object, PrefectEvent] = OrderedDict()
        self._lock = threading.Lock()

    def hears(self, level: int) -> bool:
        """Whether the settings want what happens at this level."""
        wanted = configured().events
        return wanted == "all" or (wanted == "failures" and level >= logging.ERROR)

    def __call__(self, event: Event) -> None:
        name = _NAMES.get(event.kind)
        if name is None or not event.whose.flow_run:
            return
        if not self.hears(event.level):
            return
        before = under(self._lock, self._opened.pop, event.opening, None)
        sent = emit_event(
            name,
            resource=_resource(event),
            occurred=datetime.fromtimestamp(event.at, UTC),
            related=_related(event),
            payload=_payload(event),
            follows=before,
        )
        if sent is not None and event.kind == "opened":
            under(self._lock, self._remember, event.opening, sent)

    def _remember(self, opening: object, sent: PrefectEvent) -> None:
        self._opened[opening] = sent
        while len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)


def _resource(event: Event) -> dict[str, str]:
    name = f"{event.container}.{event.path}"
    return {"prefect.resource.id": f"prefect-lifespan.resource.{name}", "prefect.resource.name": name}


def _related(event: Event) -> list[dict[str, str]]:
    runs = {"flow-run": event.whose.flow_run, "task-run": event.whose.task_run}
    return [
        {"prefect.resource.id": f"prefect.{role}.{run}", "prefect.resource.role": role}
        for role, run in runs.items()
        if run
    ]


def _payload(event: Event) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "seconds": round(event.seconds, 6),
        "lifetime": event.lifetime.name.lower() if event.lifetime is not None else "",
        "attempt": event.attempt,
        "pid": event.pid,
    }
    if event.error_type:
        payload |= {"error_type": event.error_type, "error": event.error_text}
    if event.outcome_type:
        payload["outcome_type"] = event.outcome_type
    return payload


emitted: Emitted = Emitted()
