"""How Prefect binds and describes a function: why injected parameters are hidden from it, and how."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
from dependency_injector import containers, providers, wiring
from prefect import flow, task
from prefect.context import TaskRunContext
from prefect.exceptions import ParameterTypeError
from prefect.flows import load_flow_from_entrypoint
from prefect.futures import wait
from prefect.task_engine import BaseTaskRunEngine
from prefect.tasks import Task
from prefect.utilities.callables import get_call_parameters, parameters_to_args_kwargs


class Engine:
    """What is injected."""


class Declared(containers.DeclarativeContainer):
    engine = providers.Resource(Engine)


def hidden(fn: Callable[..., Any], keep_wrapped: bool = True) -> Any:
    """The smallest wrapper that injects `engine` and hides it, as the library's `inject` does."""

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        visible = inspect.signature(wrapper).bind(*args, **kwargs).arguments
        return fn(**visible, engine="injected")

    signature = inspect.signature(fn)
    shown = [parameter for name, parameter in signature.parameters.items() if name != "engine"]
    described: Any = wrapper
    described.__signature__ = signature.replace(parameters=shown)
    described.__annotations__ = {name: value for name, value in fn.__annotations__.items() if name != "engine"}
    if not keep_wrapped:
        del described.__wrapped__
    return described


def store(x: int, engine: Any = wiring.Provide[Declared.engine], y: int = 2) -> tuple[int, Any, int]:
    return x, engine, y


def hidden_nothing(*, engine: Any = wiring.Provide["engine"]) -> None: ...


def wired(fn: Callable[..., Any]) -> Any:
    """`fn` under dependency-injector's own `inject`, connected to a container."""
    injected = wiring.inject(fn)
    Declared().wire(modules=[ModuleType(__name__)])
    return injected


# --- as they are -----------------------------------------------------------------------------------------------


def test_prefect_hands_a_marker_over_as_a_positional_argument() -> None:
    """The cause of all that follows: defaults are bound, then passed by position through a `*args` wrapper."""
    injected = wired(store)

    parameters = get_call_parameters(injected, (1,), {})
    args, kwargs = parameters_to_args_kwargs(injected, parameters)

    assert getattr(args[1], "__IS_MARKER__", False)
    assert (len(args), kwargs) == (3, {})
    with pytest.raises(TypeError, match="multiple values for argument 'engine'"):
        injected(*args, **kwargs)


@pytest.fixture
def engines_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library's guard, which is in force once another test of the process has imported it."""
    monkeypatch.setattr(BaseTaskRunEngine, "__post_init__", inspect.unwrap(BaseTaskRunEngine.__post_init__))


@pytest.mark.usefixtures("prefect_server", "engines_as_they_are")
def test_a_task_over_their_inject_fails_when_called_submitted_and_mapped() -> None:
    """If this fails, `@task @dependency_injector.wiring.inject` works and the library has lost its first reason."""
    stored: Task[..., Any] = task(wired(store))
    failures: list[object] = []

    @flow
    def run() -> None:
        futures = [stored.submit(1), *stored.map([1])]
        wait(futures)
        states = [stored(1, return_state=True), *(future.state for future in futures)]
        failures.extend(state.result(raise_on_failure=False) for state in states)

    run()

    assert [type(failure) for failure in failures] == [TypeError] * 3
    assert {"multiple values for argument 'engine'" in str(failure) for failure in failures} == {True}


def test_annotated_without_a_default_is_a_missing_argument() -> None:
    """If this fails, `Annotated[T, Provide[...]]` needs no hiding."""

    def annotated(x: int, engine: Annotated[Engine, wiring.Provide[Declared.engine]]) -> None: ...

    with pytest.raises(TypeError, match="missing a required argument: 'engine'"):
        get_call_parameters(wired(annotated), (1,), {})


# Pydantic says that it leaves a marker out of the schema.
@pytest.mark.filterwarnings("ignore:Default value .* is not JSON serializable:UserWarning")
def test_a_typed_flow_refuses_the_marker_even_if_it_is_keyword_only() -> None:
    """If this fails, a flow's own injected parameters need no hiding."""

    def typed(x: int, *, engine: Engine = wiring.Provide[Declared.engine]) -> None: ...

    injected = flow(wired(typed))

    with pytest.raises(ParameterTypeError, match="instance of Engine"):
        injected.validate_parameters(get_call_parameters(injected.fn, (1,), {}))


@pytest.mark.filterwarnings("ignore:Default value .* is not JSON serializable:UserWarning")
def test_an_injected_parameter_shows_in_the_schema_of_a_flow() -> None:
    """If this fails, deployment forms are clean without hiding."""
    assert list(flow(wired(store)).parameters.properties) == ["x", "engine", "y"]


@pytest.mark.filterwarnings("ignore:Default value .* is not JSON serializable:UserWarning")
def test_their_inject_above_a_flow_makes_a_plain_function_of_it() -> None:
    """Why `inject` of ours refuses a Task or a Flow at decoration."""

    run = wiring.inject(flow(hidden_nothing))

    assert inspect.isfunction(run)
    assert not hasattr(run, "serve")


# --- hidden ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_wrapped", [True, False])
def test_a_signature_without_the_parameter_hides_it_from_schema_binding_and_map(keep_wrapped: bool) -> None:
    """The mechanism of `injection`: if this fails, hidden parameters are back in forms and cache keys."""
    injected = hidden(store, keep_wrapped)

    assert list(flow(injected).parameters.properties) == ["x", "y"]
    assert get_call_parameters(injected, (1,), {}) == {"x": 1, "y": 2}
    assert flow(injected).validate_parameters({"x": "1", "y": 3}) == {"x": 1, "y": 3}
    assert str(inspect.signature(task(injected))).startswith("(x: int, y: int = 2)")


@pytest.mark.parametrize(("keep_wrapped", "bound"), [(True, ((1, 3), {})), (False, ((1,), {"y": 3}))])
def test_visible_parameters_are_passed_by_position_where_wrapped_is_kept(keep_wrapped: bool, bound: Any) -> None:
    """So the wrapper of ours takes `*args` and binds them to the visible signature, wherever injected ones stand."""
    assert parameters_to_args_kwargs(hidden(store, keep_wrapped), {"x": 1, "y": 3}) == bound


@pytest.mark.usefixtures("prefect_server")
def test_hidden_parameters_are_no_inputs_of_a_task_run_however_it_is_started() -> None:
    """If this fails, injected objects are task inputs: in cache keys, in the UI, pickled to workers."""
    inputs: list[dict[str, Any]] = []

    def noting(x: int, engine: Any = wiring.Provide[Declared.engine]) -> Any:
        run = TaskRunContext.get()
        assert run is not None
        inputs.append(run.parameters)
        return engine

    noted: Task[..., Any] = task(hidden(noting))

    @flow
    def run() -> list[Any]:
        return [noted(1), noted.submit(2).result(), *noted.map([3]).result()]

    assert run() == ["injected"] * 3
    assert inputs == [{"x": 1}, {"x": 2}, {"x": 3}]


def test_strings_in_an_explicit_signature_are_looked_up_where_the_wrapper_was_defined() -> None:
    """Under `from __future__ import annotations` ours must evaluate annotations before it puts up a signature."""
    users = ModuleType("users_module")
    source = "from __future__ import annotations\nclass Mine(int): ...\ndef use(x: Mine, engine: object = None): ...\n"
    exec(compile(source, users.__name__, "exec"), users.__dict__)  # noqa: S102 - it stands for a module of the user's

    plain, wrapped = flow(users.use), flow(hidden(users.use))

    assert plain.validate_parameters({"x": users.Mine(1)}) == {"x": 1, "engine": None}
    with pytest.raises(Exception, match="not fully defined|Mine"):
        wrapped.validate_parameters({"x": users.Mine(1)})
    evaluated = hidden(users.use)
    evaluated.__signature__ = inspect.Signature([inspect.signature(evaluated).parameters["x"].replace(annotation=int)])
    assert flow(evaluated).validate_parameters({"x": "1"}) == {"x": 1}


def test_a_flow_whose_imports_are_missing_is_described_without_its_markers(tmp_path: Path) -> None:
    """A limit to write down: where a dependency is not installed, `prefect deploy` shows injected parameters.

    What cannot be evaluated is cut out of the source, so our decorator sees a plain default of None.
    """
    script = tmp_path / "deployed.py"
    script.write_text(
        "from no_such_library import App\n"
        "from dependency_injector.wiring import Provide\n"
        "from prefect import flow\n"
        "@flow\n"
        "def run(x: int, engine: object = Provide[App.engine]): ...\n"
    )

    described = load_flow_from_entrypoint(f"{script}:run")

    assert list(described.parameters.properties) == ["x", "engine"]
    assert inspect.signature(described.fn).parameters["engine"].default is None
