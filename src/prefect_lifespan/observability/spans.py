"""Spans of OpenTelemetry: one for each lifespan, and one for each opening and closing, in the run that it happens in.

Made afterwards, with the times of what happened: nothing is loaded or measured where no SDK has been loaded. Of errors
they hold the masked text; OpenTelemetry's own `record_exception` would show what the exception says as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import Choosy
from prefect_lifespan.masking import text_of, traceback_of

_VERBS = {"opened": "open", "open-failed": "open", "open-retried": "open", "closed": "close", "close-failed": "close"}


class Traced(Choosy):
    """An observer that makes a span of each opening and closing, of failed ones and of each attempt too."""

    def hears(self, level: int) -> bool:  # noqa: ARG002 - as every observer has it
        """Whether anybody looks at spans; of any level."""
        return is_traced()

    def __call__(self, event: Event) -> None:
        verb = _VERBS.get(event.kind)
        if verb is None or not is_traced():
            return
        attributes: dict[str, str | int] = {
            "prefect_lifespan.container": event.container,
            "prefect_lifespan.resource": event.path,
            "prefect_lifespan.lifetime": event.lifetime.name.lower() if event.lifetime is not None else "",
            "prefect_lifespan.attempt": event.attempt,
            "prefect.flow_run.id": event.whose.flow_run,
            "prefect.task_run.id": event.whose.task_run,
        }
        error = None
        if event.error_type:
            error = _Error(event.error_type, event.error_text, event.error_traceback)
        _Span(f"{verb} {event.container}.{event.path}", event.whose.span, event.at - event.seconds, event.at).make(
            {name: value for name, value in attributes.items() if value != ""}, error
        )


traced: Traced = Traced()


@dataclass
class LifespanSpan:
    """The span of one lifespan, from entering it to its end."""

    container: str
    parent: str
    began: float = field(default_factory=time.time)

    def end(self, outcome: BaseException | None) -> None:
        """Make it: the lifespan has ended with `outcome`."""
        if is_traced():
            error = None
            if outcome is not None:
                error = _Error(type(outcome).__qualname__, text_of(outcome), traceback_of(outcome))
            span = _Span(f"lifespan {self.container}", self.parent, self.began, time.time())
            span.make({"prefect_lifespan.container": self.container}, error)


def is_traced() -> bool:
    """Whether spans may be looked at by somebody. What only measures, as Ray does, loads other parts of the SDK."""
    return "opentelemetry.sdk.trace" in sys.modules


@dataclass(frozen=True, slots=True)
class _Error:
    kind: str
    text: str
    traceback: str


@dataclass(frozen=True, slots=True)
class _Span:
    name: str
    parent: str  # as W3C's traceparent
    began: float
    ended: float

    def make(self, attributes: Mapping[str, str | int], error: _Error | None) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only where spans are looked at
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        context = TraceContextTextMapPropagator().extract({"traceparent": self.parent}, Context())
        span = trace.get_tracer("prefect-lifespan").start_span(
            self.name, context, attributes=dict(attributes), start_time=_nanoseconds(self.began)
        )
        if error is not None:
            told = {
                "exception.type": error.kind,
                "exception.message": error.text,
                "exception.stacktrace": error.traceback,
            }
            span.add_event("exception", told, timestamp=_nanoseconds(self.ended))
            span.set_status(trace.StatusCode.ERROR, f"{error.kind}: {error.text}" if error.text else error.kind)
        span.end(_nanoseconds(self.ended))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
