"""What one case of a container came to, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prefect_lifespan.engine import Event
from prefect_lifespan.engine.events import Happening
from prefect_lifespan.errors import ResourceCloseError
from prefect_lifespan.testing.belonging import is_of_the_process
from prefect_lifespan.testing.recording import line_of, problems_in


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what fails, what was recorded, and what was wrong with how it closed."""

    name: str
    problems: tuple[str, ...]
    events: tuple[Event, ...]

    def __str__(self) -> str:
        if not self.problems:
            return f"ok      {self.name}"
        lines = [f"        {problem}" for problem in self.problems]
        lines += [f"          {line_of(event)}" for event in self.events]
        return "\n".join([f"FAILED  {self.name}", *lines])


@dataclass(frozen=True, slots=True)
class CleanClosing:
    """What came of all cases of a container."""

    container: str
    cases: tuple[Case, ...]
    untried: tuple[str, ...]

    @property
    def failures(self) -> tuple[Case, ...]:
        """The cases in which something was wrong."""
        return tuple(case for case in self.cases if case.problems)

    def __str__(self) -> str:
        head = f"{self.container}: {len(self.cases)} cases, {len(self.failures)} failed"
        untried = [f"untried {path}: it has no name of its own" for path in self.untried]
        return "\n".join([head, *(f"  {line}" for case in self.cases for line in str(case).splitlines()), *untried])


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to come out of a case: an error, or one of a type; with `closing`, what that resource fails to close with.

    `outcome` is what every closing is to be told, where it is not the run that decides.
    """

    error: BaseException | type[BaseException] | None = None
    outcome: BaseException | None = None
    closing: str | None = None
    warns: bool = False

    def differs(self, raised: BaseException | None, happenings: Sequence[Happening]) -> Iterator[str]:
        """What came out otherwise."""
        if not self._is(raised):
            wanted = "nothing" if self.error is None or self.warns else _told(self.error)
            yield f"{_told(raised)} came out, not {wanted}"
        for happening in happenings:
            event, outcome = happening.event, happening.outcome
            if event.kind == "close-failed" and event.path != self.closing:
                yield f"{event.path} failed to close: {_told(happening.error)}"
            told_wrong = self.closing is None and not isinstance(self.error, type) and outcome is not self.outcome
            if told_wrong and event.kind in ("closed", "close-failed"):
                yield f"{event.path} closed with {_told(outcome)} as its outcome, not {_told(self.outcome)}"

    def _is(self, raised: BaseException | None) -> bool:
        if isinstance(self.error, type):
            return isinstance(raised, self.error)
        if self.closing is not None and self.warns:
            return raised is None
        if self.closing is not None and isinstance(raised, ResourceCloseError):  # with others that do not close either
            return any(error is self.error for error in raised.exceptions)
        return raised is self.error


def problems_of(events: Sequence[Event], needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What did not close exactly once, or closed after what it needs."""
    # What lives as long as the process closes with that, or with the outermost lifespan.
    ours = [event for event in events if not is_of_the_process(event)]
    yield from problems_in(ours)
    ends = {event.resource: index for index, event in enumerate(ours) if event.kind in ("closed", "close-failed")}
    for user, needed in needs.items():
        for each in needed:
            if user in ends and each in ends and ends[each] < ends[user]:
                yield f"{each} closed before {user}, which needs it"


def _told(error: BaseException | type[BaseException] | None) -> str:
    if error is None:
        return "nothing"
    return error.__name__ if isinstance(error, type) else f"{type(error).__name__}({str(error)!r})"
