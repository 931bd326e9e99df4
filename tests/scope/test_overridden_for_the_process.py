"""A resource of the process is made with what stands in for its dependencies on the class, whoever opens it and when."""

from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Closing, ProcessResource, Provide, TaskResource, inject, lifespan, override


def _declare() -> Any:
    class App(containers.DeclarativeContainer):
        base = ProcessResource(lambda: "base")
        wrapped = providers.Factory("{0} wrapped".format, base)
        kept = providers.Singleton("{0} kept".format, wrapped)
        model = ProcessResource(lambda *args: f"model on {', '.join(args)}", base, wrapped, kept)
        session = TaskResource(lambda model: f"session on {model}", model)

    return App


def _closing(app: Any) -> Callable[[], str]:
    @inject
    def use(model: str = Closing[Provide[app.model]]) -> str:
        return model

    return use


def _injected(app: Any) -> Callable[[], str]:
    @inject
    def use(model: str = Provide[app.model]) -> str:
        return model

    return use


def _for_a_task(app: Any) -> Callable[[], str]:
    @inject
    def use(session: str = Provide[app.session]) -> str:
        return session.removeprefix("session on ")

    return use


def _overridden_again(app: Any) -> Callable[[], str]:
    """A view of the open lifespan's container, with a model of its own."""

    @inject
    def use(session: str = Provide[app.session], model: str = Closing[Provide[app.model]]) -> str:
        assert session == "session"
        return model

    def call() -> str:
        with override(app, session="session"):
            return use()

    return call


@pytest.fixture(params=[_closing, _injected, _for_a_task, _overridden_again])
def using(request: pytest.FixtureRequest) -> Callable[[Any], Callable[[], str]]:
    """The ways in which a function is given the model, or what needs it."""
    return request.param


def _on(base: str) -> str:
    return f"model on {base}, {base} wrapped, {base} wrapped kept"


def test_what_is_overridden_on_the_class_is_what_it_is_made_with(using: Any) -> None:
    app = _declare()
    use = using(app)
    with app.base.override(providers.Object("fake")), lifespan(app):
        assert use() == _on("fake")


def test_an_override_on_the_class_neither_comes_too_late_nor_stays_too_long(using: Any) -> None:
    """The real one is open in the process before, and the one that was made with the fake is, after."""
    app = _declare()
    use = using(app)
    with lifespan(app, on_close_error="raise"):
        assert use() == _on("base")
        with app.base.override(providers.Object("fake")), lifespan(app, share=False):
            assert use() == _on("fake")
        with lifespan(app, share=False):
            assert use() == _on("base")


def test_what_only_a_run_has_in_its_place_leaves_the_process_alone(using: Any) -> None:
    app = _declare()
    use = using(app)
    with lifespan(app):
        with lifespan(app, share=False, overrides={"base": "mine"}):
            assert use() == _on("mine")
        assert use() == _on("base")


@pytest.mark.parametrize("kind", [providers.Resource, TaskResource])
def test_a_shorter_lived_one_that_is_overridden_on_the_class_is_found_by_what_is_made_for_one_call(kind: Any) -> None:
    """The lifespan has a provider of its own for it, and the process another one."""

    class App(containers.DeclarativeContainer):
        base = kind(lambda: "base")
        model = ProcessResource("model on {0}".format, base)

    use = _closing(App)
    with App.base.override(providers.Object("fake")), lifespan(App):
        assert use() == "model on fake"
