"""Errors carry data, draw their text late and survive pickling; policies say no to what cannot be meant."""

import functools
import os
import pickle
from typing import Any
from unittest.mock import Mock

import pytest
from dependency_injector import providers

from prefect_lifespan.errors import (
    AsyncResourceError,
    LifespanClosedError,
    LifespanError,
    ResourceCloseError,
    ResourceTimeoutError,
    UsageError,
)
from prefect_lifespan.lifetimes import Lifetime, Policy, ProcessResource, TaskResource, lifetime_of, policy_of, resource

ERRORS = [
    LifespanError("told"),
    LifespanClosedError("App.db", "flow run 'x'"),
    AsyncResourceError(["App.a", "App.b"], "the flow x"),
    ResourceTimeoutError("App.db", "open", 1.5, ["App.a"]),
    ResourceCloseError("1 resource of App failed to close", [OSError("stuck")]),
    UsageError("told"),
    LifespanClosedError("App.db", "flow run 'x'", "OSError: gone"),
    AsyncResourceError(["App.a"], "a call of App.a", on_loop=True),
    LifespanClosedError("App.db", "flow run 'x'", shut_down=True),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{len(error.args)}")
def test_an_error_survives_pickling_with_its_data_text_and_notes(error: Any) -> None:
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__notes__ == ["a note"]
    for name, value in vars(error).items():
        assert getattr(copy, name) == value
    assert isinstance(copy, LifespanError)


def test_each_message_says_what_where_and_what_to_do() -> None:
    _, closed, asynchronous, timeout, _, _, failed, on_loop, shut_down = [str(error) for error in ERRORS]
    assert closed.startswith("App.db was asked for after the lifespan of flow run 'x' had closed. Await")
    assert asynchronous.startswith("The flow x cannot open App.a, App.b: asynchronous resources need")
    assert timeout == (
        "App.db did not open within 1.5 s. Still at it: App.a. Raise open_timeout_seconds if it needs longer. "
        "(docs/errors.md#resourcetimeouterror)"
    )
    assert failed.startswith("App.db has failed while it was open: OSError: gone. ")
    assert "await container.a.init()" in on_loop
    assert "Make the function" not in on_loop
    assert "In a coroutine, take it" in str(AsyncResourceError(["App.clients(item 0)"], "a call", on_loop=True))
    assert shut_down.startswith("App.db was asked for after `shutdown()` or `shutdown_resources()` had closed it")
    assert "does not open again in the lifespan of flow run 'x'. Leave" in shut_down


def test_errors_are_what_their_users_catch_them_as() -> None:
    assert issubclass(ResourceTimeoutError, TimeoutError)
    assert issubclass(ResourceCloseError, ExceptionGroup)
    assert issubclass(UsageError, TypeError)


def test_a_part_of_a_close_error_is_one_as_well() -> None:
    error = ResourceCloseError("2 failed", [OSError(), ValueError()])
    part = error.subgroup(OSError)
    assert isinstance(part, ResourceCloseError)
    assert [type(inner) for inner in part.exceptions] == [OSError]


@pytest.mark.parametrize(
    "wrong",
    [
        {"open_timeout_seconds": 0},
        {"open_timeout_seconds": float("nan")},
        {"close_timeout_seconds": -1},
        {"retries": -1},
        {"retry_delay_seconds": -0.1},
        {"retry_delay_seconds": []},
        {"retry_delay_seconds": [1, -1]},
        {"retry_delay_seconds": "1"},
        {"retry_jitter_factor": -1},
        {"retry_on": "OSError"},
        {"retry_on": int},
        {"retry_on": (OSError, KeyboardInterrupt)},
        {"health_check": "ping"},
        {"health_check": int},
        {"loop_bound": "no"},
        {"on_close_error": "ignore"},
    ],
    ids=str,
)
def test_a_policy_refuses_what_cannot_be_meant_and_names_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Policy(**wrong)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        resource(**wrong)


def test_a_resources_word_stands_over_the_lifespans_and_what_it_leaves_open_is_the_lifespans() -> None:
    own, defaults = Policy(retries=0, loop_bound=False), Policy(retries=3, close_timeout_seconds=30)
    assert own.over(defaults) == Policy(retries=0, close_timeout_seconds=30, loop_bound=False)


def test_resource_attaches_its_policy_and_changes_nothing_else() -> None:
    def initialiser() -> str:
        return "x"

    assert resource(retries=3)(initialiser) is initialiser
    assert policy_of(initialiser).retries == 3
    assert policy_of(print) == Policy()


def test_a_policy_is_found_where_dependency_injector_or_functools_wrapped_the_initialiser() -> None:
    @resource(retries=3)
    def generator(number: int = 0) -> Any:
        yield number

    @resource(retries=3)
    class Base: ...

    class Derived(Base): ...

    wrapped: Any = providers.Resource(generator)
    for initialiser in (wrapped.provides, functools.partial(functools.partial(generator, 1)), Base, Derived):
        assert policy_of(initialiser).retries == 3


def test_lifetimes_are_told_by_the_provider_and_order() -> None:
    given = [TaskResource(dict), providers.Resource(dict), ProcessResource(dict), providers.Factory(dict)]
    assert [lifetime_of(provider) for provider in given] == [Lifetime.TASK, Lifetime.RUN, Lifetime.PROCESS, None]
    assert Lifetime.TASK < Lifetime.RUN < Lifetime.PROCESS
    assert len({lifetime.told for lifetime in Lifetime}) == 3


class Opener:
    __slots__ = ()

    def open(self) -> str:
        return "opened"

    def __call__(self) -> str:
        return "called"

    @resource(retries=5)
    @staticmethod
    def without_self() -> str:
        return "static"

    @resource(retries=5)
    @classmethod
    def of_class(cls) -> str:
        return cls.__name__


@pytest.mark.parametrize(
    ("initialiser", "gives"),
    [
        (functools.partial("{}!".format, "hello"), "hello!"),
        (Opener().open, "opened"),
        (Opener(), "called"),
        (dict, {}),
        (functools.partial(functools.partial(dict, a=1), b=2), {"a": 1, "b": 2}),
        (os.getpid, os.getpid()),
        (Mock(return_value="mocked"), "mocked"),
    ],
    ids=["partial", "bound method", "callable object", "class in C", "nested partial", "builtin", "mock"],
)
def test_a_policy_can_be_put_on_every_callable_which_goes_on_doing_what_it_did(initialiser: Any, gives: object) -> None:
    decorated = resource(retries=5)(initialiser)
    assert policy_of(decorated).retries == 5
    assert decorated() == gives


def test_a_policy_of_a_partial_is_its_own_and_not_that_of_the_function() -> None:
    def open_db(url: str) -> str:
        return url

    inner = resource(retries=1)(open_db)
    outer = resource(retries=2)(functools.partial(inner, "sqlite://"))
    assert (policy_of(inner).retries, policy_of(functools.partial(inner, "x")).retries) == (1, 1)
    assert policy_of(outer).retries == policy_of(functools.partial(outer)).retries == 2


@pytest.mark.parametrize("method", [Opener.without_self, Opener.of_class, Opener().of_class])
def test_a_policy_above_staticmethod_and_classmethod_is_kept(method: Any) -> None:
    assert policy_of(method).retries == 5


@pytest.mark.parametrize("nothing", [providers.Factory(dict), 3, "open_db"])
def test_what_is_no_initialiser_is_refused_with_what_to_decorate(nothing: Any) -> None:
    with pytest.raises(UsageError, match=r"@resource was given a (Factory provider|int|str)"):
        resource(retries=5)(nothing)


def test_resource_without_parentheses_says_so():
    without: Any = resource
    with pytest.raises(UsageError, match=r"@resource is written with parentheses: @resource\(\)"):
        without(lambda: None)
