"""Others see the function itself: its kind, name, documentation, source and types, without the injected parameters."""

import inspect
import pickle
import traceback
import typing
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan


class App(containers.DeclarativeContainer):
    one = providers.Object("ONE")


@inject
def blocking(a: int, db: str = Provide[App.one], *, b: float = 1.5) -> list[str]:
    """What it does."""
    return [db, str(a), str(b)]


@inject
async def coroutine(a: int, db: Annotated[str, Provide[App.one]]) -> str:
    """What it awaits."""
    return db * a


@inject
def generator(a: int, db: str = Provide[App.one]) -> Generator[str, None, None]:
    """What it yields."""
    yield from [db] * a


@inject
async def asynchronous_generator(a: int, db: str = Provide[App.one]) -> AsyncGenerator[str, None]:
    """What it yields in time."""
    for _ in range(a):
        yield db


FUNCTIONS: list[Callable[..., Any]] = [blocking, coroutine, generator, asynchronous_generator]
KINDS = [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_injected_function_is_a_function_of_the_same_kind(function: Any):
    assert [kind(function) for kind in KINDS] == [kind(function.__wrapped__) for kind in KINDS]
    assert type(function) is FunctionType


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_injected_parameter_is_in_no_signature_and_no_annotations(function: Any):
    assert "db" not in inspect.signature(function).parameters
    assert "db" not in function.__annotations__
    assert "db" not in typing.get_type_hints(function)
    assert typing.get_type_hints(function)["a"] is int


def test_what_stays_in_the_signature_stays_as_it_was():
    assert str(inspect.signature(blocking)) == "(a: int, *, b: float = 1.5) -> list[str]"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_name_documentation_and_module_are_the_functions_own(function: Any):
    wrapped = function.__wrapped__
    assert (function.__name__, function.__qualname__, function.__module__, function.__doc__) == (
        wrapped.__name__,
        wrapped.__qualname__,
        wrapped.__module__,
        wrapped.__doc__,
    )
    assert function.__doc__.startswith("What it ")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_source_location_is_the_functions_own(function: Any):
    assert inspect.getfile(function) == __file__
    assert inspect.getsourcefile(function) == __file__
    assert inspect.getsource(function) == inspect.getsource(function.__wrapped__)
    assert function.__code__.co_firstlineno == function.__wrapped__.__code__.co_firstlineno


def test_attributes_set_on_the_function_before_are_there_after():
    def tagged(db: str = Provide[App.one]) -> str:
        return db

    tagged.tags = {"nightly"}  # pyright: ignore[reportFunctionMemberAccess]
    assert inject(tagged).tags == {"nightly"}  # pyright: ignore[reportFunctionMemberAccess]


def test_a_traceback_shows_the_decorated_function_and_no_line_that_was_not_run():
    @inject
    def fails(db: str = Provide[App.one]) -> None:
        never = "run" if not db else ""
        raise ValueError(db + never)

    with lifespan(App), pytest.raises(ValueError, match="ONE") as caught:
        fails()

    own = [
        (frame.line or "").strip()
        for frame in traceback.extract_tb(caught.value.__traceback__)
        if Path(frame.filename) == Path(__file__) and frame.name == "fails"
    ]
    assert own == ["@inject", "raise ValueError(db + never)"]


def test_the_location_of_every_instruction_is_the_first_line():
    code: CodeType = blocking.__code__
    assert {line for _, _, line in code.co_lines()} == {code.co_firstlineno}


def test_two_functions_share_neither_code_nor_instructions():
    # Prefect hashes the first for a task's key, and the second for a cache key where there is no source text.
    @inject
    def one(db: str = Provide[App.one]) -> str:
        return db.lower()

    @inject
    def other(db: str = Provide[App.one]) -> str:
        return db.upper()

    assert one.__code__ != other.__code__
    assert one.__code__.co_code != other.__code__.co_code


def test_functions_that_differ_in_a_constant_alone_do_not_share_code():
    # As where a cell of a notebook is edited and run again: same name, same line, same instructions.
    def made(source: str) -> Any:
        namespace: dict[str, Any] = {"inject": inject, "Provide": Provide, "App": App, "__name__": "cell"}
        exec(compile(source, "<cell>", "exec"), namespace)  # noqa: S102 - what a notebook does
        return namespace["price"]

    text = "@inject\ndef price(db=Provide[App.one]):\n    return {}\n"
    assert made(text.format(1)).__code__ != made(text.format(2)).__code__


def test_methods_class_methods_and_static_methods_are_injected_below_their_decorators():
    class Service:
        name = "service"

        @inject
        def method(self, a: int, db: str = Provide[App.one]) -> tuple[str, int, str]:
            return self.name, a, db

        @classmethod
        @inject
        def of_class(cls, a: int, db: str = Provide[App.one]) -> tuple[str, int, str]:
            return cls.name, a, db

        @staticmethod
        @inject
        def static(a: int, db: str = Provide[App.one]) -> tuple[int, str]:
            return a, db

    with lifespan(App):
        assert Service().method(1) == ("service", 1, "ONE")
        assert Service().method(a=1) == ("service", 1, "ONE")
        assert Service.of_class(2) == ("service", 2, "ONE")
        assert Service.static(3) == (3, "ONE")


def test_closures_and_lambdas_are_injected():
    def maker(factor: int) -> Callable[[int], tuple[int, str]]:
        @inject
        def closure(a: int, db: str = Provide[App.one]) -> tuple[int, str]:
            return a * factor, db

        return closure

    short: Callable[[int], tuple[int, str]] = inject(lambda a, db=Provide[App.one]: (a, db))
    with lifespan(App):
        assert maker(2)(3) == (6, "ONE")
        assert maker(5)(3) == (15, "ONE")
        assert short(3) == (3, "ONE")


def test_an_injected_function_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(blocking)) is blocking  # noqa: S301


def test_the_signature_says_what_is_injected_where_it_is_given_and_does_so_when_it_has_travelled():
    signature: Any = inspect.signature(blocking)
    for each in (signature, pickle.loads(pickle.dumps(signature))):  # noqa: S301 - its own
        assert each == signature
        assert str(each) == str(signature)
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'db'; db is injected: .* `override\(...\)`"):
            each.bind(1, db="fake")
        with pytest.raises(TypeError, match=r"too many positional arguments; db is injected"):
            each.bind(1, 2, 3)
        with pytest.raises(TypeError, match="missing a required argument: 'a'$"):
            each.bind()
    assert signature.replace(parameters=[]) == inspect.Signature(return_annotation=signature.return_annotation)
