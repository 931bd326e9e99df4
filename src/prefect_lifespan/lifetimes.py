"""How long a resource lives: the three lifetimes, and the providers and policy that declare them.

`providers.Resource` lives as long as a flow run's attempt, `TaskResource` as long as a task run's attempt,
`ProcessResource` as long as the process. They order: a resource may need only what lives at least as long.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal, TypeVar, cast

from dependency_injector import providers

from prefect_lifespan.errors import UsageError

OnCloseError = Literal["raise", "warn"]
# A number, one for each retry (the last one for those that follow), or a function of the number of retries that gives either.
RetryDelay = float | Sequence[float] | Callable[[int], float | Sequence[float]]
RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]
F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")


class Lifetime(IntEnum):
    """A lifetime; a greater one outlives a smaller one."""

    TASK = 1
    RUN = 2
    PROCESS = 3

    @property
    def told(self) -> str:
        """How many there are, as a message tells it."""
        return {
            Lifetime.TASK: "one per task run",
            Lifetime.RUN: "one per flow run",
            Lifetime.PROCESS: "one per process",
        }[self]


class TaskResource(providers.Resource[T]):
    """A resource that lives as long as one attempt of a task run, and is closed with its outcome.

    Opened at the first use in the task, shared by injected helpers that the task calls, closed when the attempt
    ends: an exception of the task is thrown into it, so a database session commits or rolls back. Where there is no
    task run, or one whose own function has no `@inject`, it lives as long as the outermost injected call.

    Example:
        >>> from dependency_injector import containers
        >>> def open_session():
        ...     yield "session"
        >>> class App(containers.DeclarativeContainer):
        ...     session = TaskResource(open_session)
    """


class ProcessResource(providers.Resource[T]):
    """A resource that lives as long as the process: opened once, however many runs and threads ask for it.

    Opened at first use, used by every run, closed at the end of the process or of the outermost
    `with lifespan(Container)`.

    Example:
        >>> from dependency_injector import containers
        >>> class App(containers.DeclarativeContainer):
        ...     model = ProcessResource(lambda: "a model that takes a minute to load")
    """


def lifetime_of(provider: object) -> Lifetime | None:
    """The lifetime that a provider declares, None where it is no resource.

    dependency-injector's `ContextLocalResource` keeps what runs side by side apart, which shared by a run's tasks it would not.
    """
    if isinstance(provider, (TaskResource, providers.ContextLocalResource)):
        return Lifetime.TASK
    if isinstance(provider, ProcessResource):
        return Lifetime.PROCESS
    return Lifetime.RUN if isinstance(provider, providers.BaseResource) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one resource is opened and closed; None means: as the lifespan says."""

    open_timeout_seconds: float | None = None
    close_timeout_seconds: float | None = None
    retries: int | None = None
    retry_delay_seconds: RetryDelay | None = None
    retry_jitter_factor: float | None = None
    retry_on: RetryOn | None = None
    on_close_error: OnCloseError | None = None
    loop_bound: bool = True
    health_check: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        for name in ("open_timeout_seconds", "close_timeout_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not (_is_number(seconds) and seconds > 0):
                raise ValueError(f"{name} is {seconds!r}; it must be a number of seconds greater than zero, or None")
        if self.retries is not None and not (_is_number(self.retries, int) and self.retries >= 0):
            raise ValueError(f"retries is {self.retries!r}; it must be zero or more")
        jitter = self.retry_jitter_factor
        if jitter is not None and not (_is_number(jitter) and jitter >= 0):
            raise ValueError(f"retry_jitter_factor is {jitter!r}; it must be zero or more")
        self._check_delay()
        self._check_functions()
        if self.loop_bound is not True and self.loop_bound is not False:
            raise ValueError(f"loop_bound is {self.loop_bound!r}; it must be True or False")
        if self.on_close_error not in (None, "raise", "warn"):
            raise ValueError(f"on_close_error is {self.on_close_error!r}; it must be 'raise' or 'warn'")

    def _check_delay(self) -> None:
        given = self.retry_delay_seconds
        if given is None or callable(given):
            return
        delays: list[Any] = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        if not delays or not all(_is_number(delay) and delay >= 0 for delay in delays):
            raise ValueError(
                f"retry_delay_seconds is {given!r}; it must be zero or more seconds, a list of such, or a function of the "
                "number of retries"
            )

    def _check_functions(self) -> None:
        retry_on, health_check = cast("Any", self.retry_on), self.health_check
        types = cast("tuple[object, ...]", retry_on if isinstance(retry_on, tuple) else (retry_on,))
        if retry_on is not None and not (
            all(map(_is_exception_type, types)) or _is_predicate(cast("object", retry_on))
        ):
            raise ValueError(
                f"retry_on is {retry_on!r}; it must be a type of Exception, a tuple of such, or a function of the exception"
            )
        if health_check is not None and not _is_predicate(health_check):
            raise ValueError(
                f"health_check is {health_check!r}; it must be a function of the open value that raises when it is unwell"
            )

    def retries_after(self, error: Exception) -> bool:
        """Whether an opening that raised `error` is worth another attempt."""
        retry_on = cast("Any", self.retry_on)
        if retry_on is None:
            return True
        return isinstance(error, retry_on) if isinstance(retry_on, (type, tuple)) else bool(retry_on(error))

    def delay_before(self, retry: int) -> float:
        """Seconds to wait before a retry; the first one is 0."""
        given = self.retry_delay_seconds
        if callable(given):
            given = given(self.retries or 0)
        if isinstance(given, Sequence):
            given = given[min(retry, len(given) - 1)] if given else 0.0
        seconds = cast("float", given or 0.0)
        # As often shorter as longer, by the same factor: processes that failed together do not come back together.
        return seconds * (1 + (self.retry_jitter_factor or 0.0)) ** random.uniform(-1, 1)  # noqa: S311

    def over(self, defaults: Policy) -> Policy:
        """This policy, with what it leaves open taken from `defaults`."""
        if self is _NO_POLICY:  # as that of most resources
            return defaults
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Policy(**{name: getattr(defaults, name) if value is None else value for name, value in values.items()})


_NO_POLICY = Policy()  # leaves everything open


def _is_number(value: object, kinds: type | tuple[type, ...] = (int, float)) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_exception_type(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_predicate(value: object) -> bool:
    return callable(value) and not isinstance(value, type)


_POLICY = "__prefect_lifespan_policy__"
# As a type checker knows nothing of: it would take an initialiser for one after it was asked.
_PARTIAL: Any = functools.partial


def resource(
    written_without_parentheses: None = None,
    /,
    *,
    open_timeout_seconds: float | None = None,
    close_timeout_seconds: float | None = None,
    retries: int | None = None,
    retry_delay_seconds: RetryDelay | None = None,
    retry_jitter_factor: float | None = None,
    retry_on: RetryOn | None = None,
    on_close_error: OnCloseError | None = None,
    loop_bound: bool = True,
    health_check: Callable[[Any], object] | None = None,
) -> Callable[[F], F]:
    """Attach an opening and closing policy to an initialiser; it stays the same function otherwise.

    An initialiser is a function, a class, a partial or any other callable. One that can take no attribute, as a bound
    method or a built-in class, is given back as a `functools.partial` of it.

    Args:
        open_timeout_seconds: seconds one attempt to open may take; None takes the lifespan's.
        close_timeout_seconds: seconds closing may take; None takes the lifespan's.
        retries: further attempts after an opening that raised; None takes the lifespan's. An argument that could not be
            made, such as a setting that is missing, is not tried again.
        retry_delay_seconds: seconds between two attempts: a number; a list, with one for each retry, the last for those
            that follow; or a function of the number of retries that returns either, such as Prefect's
            `exponential_backoff(2)`. None takes the lifespan's.
        retry_jitter_factor: varies each delay at random, between its (1 + factor)th part and (1 + factor) times as long.
        retry_on: what is worth another attempt: a type of exception, a tuple of such, or a function that is given the
            exception and tells; None for every `Exception`.
        on_close_error: "raise" fails a run whose body succeeded, "warn" logs; None takes the lifespan's.
        loop_bound: False for an asynchronous resource whose value may be used on any event loop (a token).
        health_check: a function of the open value, synchronous or asynchronous, that raises when it is unwell. Opening
            does not call it; `probe` does.

    Raises:
        ValueError: a number is out of range, or what should be a function is none.
        UsageError: what is decorated is no initialiser: it cannot be called, or it is a provider.

    Example:
        >>> @resource(retries=3, retry_delay_seconds=0.5)
        ... def open_warehouse(url: str):
        ...     yield f"connection to {url}"
    """
    if written_without_parentheses is not None:
        raise UsageError("@resource is written with parentheses: @resource() or, with a policy, @resource(retries=3)")
    policy = Policy(
        open_timeout_seconds=open_timeout_seconds,
        close_timeout_seconds=close_timeout_seconds,
        retries=retries,
        retry_delay_seconds=retry_delay_seconds,
        retry_jitter_factor=retry_jitter_factor,
        retry_on=retry_on,
        on_close_error=on_close_error,
        loop_bound=loop_bound,
        health_check=health_check,
    )

    return lambda initialiser: with_policy(initialiser, policy)


def with_policy(initialiser: F, policy: Policy) -> F:
    """The initialiser, with a policy attached.

    Raises:
        UsageError: it is none.
    """
    if isinstance(initialiser, (staticmethod, classmethod)):
        with_policy(cast("Any", initialiser).__func__, policy)
        return cast("F", initialiser)
    if providers.is_provider(initialiser):
        raise UsageError(
            f"@resource was given a {type(initialiser).__name__} provider, which cannot carry a policy; put it on the "
            "initialiser: providers.Resource(resource(retries=3)(open_db), ...)"
        )
    if not callable(initialiser):
        raise UsageError(
            f"@resource was given a {type(initialiser).__qualname__}, which is no initialiser; give it a function, a "
            "class or another callable"
        )
    try:
        setattr(initialiser, _POLICY, policy)
    except (AttributeError, TypeError):  # a bound method, a class written in C, an object with slots
        return cast("F", with_policy(functools.partial(initialiser), policy))
    return initialiser


def policy_of(initialiser: Any) -> Policy:
    """The policy attached to an initialiser, or one that leaves everything to the lifespan."""
    while isinstance(initialiser, _PARTIAL) and _POLICY not in initialiser.__dict__:
        initialiser = initialiser.func
    # A class inherits the policy of its base; contextlib's wrappers carry it in the __dict__ that functools copies.
    policy: object = None if isinstance(initialiser, providers.Provider) else getattr(initialiser, _POLICY, None)
    # A `.provided` chain and a mock answer to every name.
    return policy if isinstance(policy, Policy) else _NO_POLICY
