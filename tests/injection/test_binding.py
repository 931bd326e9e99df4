"""Arguments bind as in the visible signature, wherever the injected parameters stand; an explicit keyword wins."""

import pickle
from collections.abc import Callable
from typing import Annotated, Any, cast

import cloudpickle
import prefect.main  # noqa: F401 - with which providers pickle by where they are declared
import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan


class App(containers.DeclarativeContainer):
    one = providers.Object("ONE")
    two = providers.Object("TWO")


@inject
def first(db: str = Provide[App.one], a: Any = None, b: int = 2) -> tuple[Any, ...]:
    return db, a, b


@inject
def between(a: Any, db: str = Provide[App.one], b: int = 2, *rest: Any, c: int = 3, **named: Any) -> tuple[Any, ...]:
    return a, db, b, rest, c, named


@inject
def annotated(
    db: Annotated[str, Provide[App.one]], a: Any, other: Annotated[str, Provide[App.two]], *, b: int
) -> tuple[Any, ...]:
    return db, a, other, b


@inject
def keyword_only(a: Any, *rest: Any, db: str = Provide[App.one], b: Any = "b") -> tuple[Any, ...]:
    return a, rest, db, b


@inject
def two(a: Any, x: str = Provide[App.one], b: Any = "b", y: str = Provide[App.two], c: Any = "c") -> tuple[Any, ...]:
    return a, x, b, y, c


@inject
def three(
    a: Any, x: str = Provide[App.one], y: str = Provide[App.two], z: str = Provide[App.one], b: Any = "b"
) -> tuple[Any, ...]:
    return a, x, y, z, b


@inject
def positional_only(a: Any, b: Any = "b", /, db: str = Provide[App.one], c: Any = "c") -> tuple[Any, ...]:
    return a, b, db, c


@inject
def named_as_ours(
    too_many: Any, visible: str = Provide[App.one], absent: Any = "a", ground: str = Provide[App.two], gives: Any = "g"
) -> tuple[Any, ...]:
    return too_many, visible, absent, ground, gives


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], tuple[Any, ...]]] = [
    (first, (), {}, ("ONE", None, 2)),
    (first, (1,), {}, ("ONE", 1, 2)),
    (first, (1, 5), {}, ("ONE", 1, 5)),
    (first, (1,), {"b": 5}, ("ONE", 1, 5)),
    (first, (), {"a": 1}, ("ONE", 1, 2)),
    (between, (1,), {}, (1, "ONE", 2, (), 3, {})),
    (between, (1, 5), {}, (1, "ONE", 5, (), 3, {})),
    (between, (1, 5, 6, 7), {"c": 8, "z": 9}, (1, "ONE", 5, (6, 7), 8, {"z": 9})),
    (between, (), {"a": 1, "b": 5}, (1, "ONE", 5, (), 3, {})),
    (annotated, (1,), {"b": 2}, ("ONE", 1, "TWO", 2)),
    (annotated, (), {"a": 1, "b": 2}, ("ONE", 1, "TWO", 2)),
    (keyword_only, (1, 2, 3), {}, (1, (2, 3), "ONE", "b")),
    (keyword_only, (1,), {"b": 4}, (1, (), "ONE", 4)),
    (two, (1,), {}, (1, "ONE", "b", "TWO", "c")),
    (two, (1, 2), {}, (1, "ONE", 2, "TWO", "c")),
    (two, (1, 2, 3), {}, (1, "ONE", 2, "TWO", 3)),
    (two, (1,), {"c": 3}, (1, "ONE", "b", "TWO", 3)),
    (two, (), {"c": 3, "a": 1, "y": "mine"}, (1, "ONE", "b", "mine", 3)),
    (three, (1,), {}, (1, "ONE", "TWO", "ONE", "b")),
    (three, (1, 2), {"y": "mine"}, (1, "ONE", "mine", "ONE", 2)),
    (three, (), {"a": 1, "x": None, "y": None, "z": None}, (1, None, None, None, "b")),
    (positional_only, (1,), {}, (1, "b", "ONE", "c")),
    (positional_only, (1, 2, 3), {}, (1, 2, "ONE", 3)),
    (positional_only, (1, 2), {"c": 3, "db": "mine"}, (1, 2, "mine", 3)),
    (named_as_ours, (1,), {}, (1, "ONE", "a", "TWO", "g")),
    (named_as_ours, (1, 2, 3), {}, (1, "ONE", 2, "TWO", 3)),
    (named_as_ours, (1,), {"visible": "mine"}, (1, "mine", "a", "TWO", "g")),
    (named_as_ours, (1,), {"ground": "mine", "gives": 2}, (1, "ONE", "a", "mine", 2)),
    (keyword_only, (1, 2), {"db": "mine"}, (1, (2,), "mine", "b")),
    (between, (1,), {"db": "mine", "z": 9}, (1, "mine", 2, (), 3, {"z": 9})),
]


@pytest.mark.parametrize(("function", "args", "kwargs", "bound"), CALLS)
def test_arguments_bind_as_if_the_injected_parameters_were_not_there(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bound: tuple[Any, ...]
):
    with lifespan(App):
        at_first = function(*args, **kwargs)
        when_prepared = function(*args, **kwargs)

    assert at_first == bound
    assert when_prepared == bound
    assert function(*args, **kwargs) == bound, "outside any lifespan it binds the same"


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "complaint"),
    [
        (between, (), {}, "missing 1 required positional argument: 'a'"),
        (between, (1,), {"a": 2}, "multiple values for argument 'a'"),
        (between, (1, 2), {"b": 3}, "multiple values for argument 'b'"),
        (first, (1, 2, 3), {}, "positional argument"),
        (annotated, (1,), {}, "missing 1 required keyword-only argument: 'b'"),
        (two, (1,), {"d": 3}, "unexpected keyword argument 'd'"),
        (two, (), {"b": 3}, "missing 1 required positional argument: 'a'"),
        (two, (1, 2), {"b": 3}, "multiple values for argument 'b'"),
        (positional_only, (), {"a": 1}, "missing 1 required positional argument: 'a'|passed as keyword arguments: 'a'"),
        (
            three,
            (1, 2, 3),
            {},
            r"three\(\) got too many positional arguments: it takes \(a, b\), and x, y, z is injected",
        ),
        *[
            (
                two,
                (1, 2, 3, *("more",) * excess),
                named,
                r"two\(\) got too many .*: it takes \(a, b, c\), and x, y is injected",
            )
            for excess in (1, 2, 3)
            for named in ({}, {"y": "mine"})
            if excess < 3 or not named
        ],
        (two, (1, 2, 3, *("more",) * 4), {}, r"two\(\) takes from 1 to 6 positional arguments but 7 were given"),
    ],
)
def test_a_call_that_does_not_bind_is_a_type_error_as_pythons_own(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], complaint: str
):
    with lifespan(App):
        for _ in ("at first", "when prepared"):
            with pytest.raises(TypeError, match=complaint):
                function(*args, **kwargs)


class Costly(containers.DeclarativeContainer):
    opened: providers.Object[list[str]] = providers.Object([])
    db = providers.Resource(lambda opened: opened.append("db") or "DB", opened)
    api = providers.Resource(lambda opened: opened.append("api") or "API", opened)


@inject
def query(sql: str, db: str = Provide[Costly.db], api: str = Provide[Costly.api]) -> tuple[str, str, str]:
    return sql, db, api


@pytest.fixture
def opened() -> list[str]:
    """What `Costly` opened in this test; `Object` gives the list itself to every instance."""
    record: list[str] = Costly.opened()
    record.clear()
    return record


def test_an_explicit_keyword_wins_and_what_it_replaces_is_not_opened(opened: list[str]):
    assert query("select 1", db="fake", api="fake") == ("select 1", "fake", "fake")
    assert opened == []

    with lifespan(Costly, eager=False):
        assert query("select 1", db="fake") == ("select 1", "fake", "API")
        assert opened == ["api"]


def test_an_explicit_none_is_a_value_like_any_other(opened: list[str]):
    assert query("select 1", db=None, api=None) == ("select 1", None, None)  # pyright: ignore[reportArgumentType]
    assert opened == []


def test_an_explicit_keyword_leaves_the_next_call_alone(opened: list[str]):
    with lifespan(Costly):
        assert query("a") == ("a", "DB", "API")
        assert query("b", api="fake") == ("b", "DB", "fake")
        assert query("c") == ("c", "DB", "API")
    assert opened == ["db", "api"]


def test_a_marker_that_a_caller_passes_on_never_arrives():
    def caller(sql: str, db: str = Provide[Costly.db]) -> tuple[str, str, str]:  # not injected itself
        return query(sql, db=db)

    with lifespan(Costly):
        assert caller("first") == ("first", "DB", "API")
        assert caller("prepared") == ("prepared", "DB", "API")
    assert caller("outside") == ("outside", "DB", "API")


def test_a_function_that_has_travelled_knows_what_it_was_given(opened: list[str]):
    def local(sql: str, db: Any = Provide[Costly.db], *, limit: int = 3) -> tuple[Any, ...]:
        return sql, db, limit

    def short(sql: str, db: Any = Provide[Costly.db]) -> tuple[Any, ...]:
        return sql, db

    for function, rest in ((inject(local), (3,)), (inject(short), ())):
        opened.clear()
        arrived = pickle.loads(cast("Any", cloudpickle).dumps(function))  # noqa: S301 - its own
        assert arrived("outside", db=None) == ("outside", None, *rest)
        assert opened == []
        with lifespan(Costly):
            for _ in ("at first", "when prepared"):
                assert arrived("given", db="fake") == ("given", "fake", *rest)
                assert arrived(sql="injected") == ("injected", "DB", *rest)
