"""What a lifespan was asked for, as its flow's function takes it along to other processes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

from prefect_lifespan.engine import Observer
from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.edges import AnyProvider
from prefect_lifespan.graph.reader import ContainerClass
from prefect_lifespan.injection.markers import sent_as
from prefect_lifespan.injection.mistakes import place_of
from prefect_lifespan.lifetimes import Policy

_NONE = inspect.Signature()
Overrides = Mapping[str, object] | Callable[..., Mapping[str, object]] | None


class Settings(NamedTuple):
    """What a lifespan was asked for."""

    container: ContainerClass
    overrides: Overrides
    eager: bool | Sequence[AnyProvider | str]  # not by identity: it is another one in another process
    share: bool
    max_workers: int
    policy: Policy
    pending: Literal["wait", "cancel"]
    everywhere: bool = False
    observers: tuple[Observer, ...] = ()
    report: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """A flow's function is pickled with every task that goes to another process, where nobody may ever call it."""
        # Observers stay where they can be heard.
        sent = self._replace(overrides=_portable(self.overrides), observers=())
        return Settings, (sent_as(self.container), *sent[1:])


def _portable(overrides: Overrides) -> Overrides:
    """Overrides as they travel: ones that cannot be pickled are left behind, and missed where they are asked for."""
    if overrides is None or callable(overrides):
        return overrides
    try:
        cast("Any", cloudpickle).dumps(overrides)
    except Exception as error:
        return LeftBehind(sorted(overrides), f"{type(error).__name__}: {error}")
    return overrides


class LeftBehind:
    """Overrides that did not arrive in this process."""

    __slots__ = ("paths", "why")

    def __init__(self, paths: list[str], why: str) -> None:
        self.paths: list[str] = paths
        self.why: str = why

    def __call__(self, **_: object) -> Mapping[str, object]:
        raise UsageError(
            f"this flow's lifespan overrides {', '.join(self.paths)} with what cannot be pickled, so it cannot run in "
            f"another process ({self.why}); give providers that make it there, or a function that returns them"
        )


def refuse_what_does_not_take(
    overrides: Callable[..., Any], parameters: inspect.Signature = _NONE, flow: str | None = None
) -> None:
    """Refuse a function for overrides that cannot be called with a flow's parameters, before a run is the first to find out.

    A block has none to give.

    Raises:
        UsageError: what it does not take or lacks, and what to write; or it is not a plain function.
    """
    where = f"overrides={place_of(overrides)}"
    if inspect.iscoroutinefunction(overrides) or inspect.isgeneratorfunction(overrides):
        raise UsageError(
            f"{where} does not return a mapping when it is called; write a plain function, `def`, that does"
        )
    try:
        signature = inspect.signature(overrides)
    except (TypeError, ValueError):  # of another language
        return
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [name for name, parameter in parameters.parameters.items() if parameter.kind not in rest]
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        given = f"the parameters of {flow} by keyword ({', '.join(names)})"
        cure = "take those that it needs, and `**_` for the others"
        if flow is None:
            given, cure = (
                "no parameters, as a block has none",
                "give a mapping, or a function that is called without any",
            )
        raise UsageError(f"{where} is given {given}, and its signature is {signature}: {error}; {cure}") from None
