"""`override_everywhere`: seen in every context of the process, and gone from all of them when it is left."""

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, current_container, inject, lifespan, override
from prefect_lifespan.errors import UsageError
from prefect_lifespan.scope import current_scope
from prefect_lifespan.testing import override_everywhere, recording


class App(containers.DeclarativeContainer):
    db = providers.Resource(lambda: "db")
    value = providers.Object("real")
    text = providers.Factory("text of {}".format, value)


@inject
def value(value: Any = Provide[App.value]) -> Any:
    return value


@inject
def text(text: Any = Provide[App.text]) -> Any:
    return text


def in_thread(function: Callable[[], Any]) -> Any:
    """What a function returns in a thread with a context of its own."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join(10)
    return found[0]


def test_threads_and_contexts_of_their_own_see_it_until_it_is_left():
    elsewhere = contextvars.Context()
    with override_everywhere(App, value="fake"):
        assert (value(), in_thread(value), elsewhere.run(value)) == ("fake", "fake", "fake")
        assert asyncio.run(asyncio.to_thread(text)) == "text of fake"
    assert (value(), in_thread(value), elsewhere.run(value)) == ("real", "real", "real")


def test_it_is_undone_after_an_error_and_in_any_order():
    with pytest.raises(ValueError, match="body"), override_everywhere(App, value="fake"):
        raise ValueError("body")
    first, second = override_everywhere(App, value="first"), override_everywhere(App, value="second")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert value() == "second"
    second.__exit__(None, None, None)
    assert value() == "real"


def test_of_the_two_kinds_of_override_the_one_entered_last_wins():
    with override(App, value="here"), override_everywhere(App, value="everywhere"):
        assert value() == "everywhere"
        with override(App, value="inside"):
            assert (value(), in_thread(value)) == ("inside", "everywhere")
        assert value() == "everywhere"


def test_lifespans_open_with_it_and_open_ones_see_it_for_as_long_as_it_is_entered():
    with override_everywhere(App, db="fake"), recording() as record:
        with lifespan(App) as container:
            assert container.db() == "fake"
        assert record.opened == []
    with lifespan(App) as container:
        assert value() == value() == "real"  # prepared by now
        with override_everywhere(App, value="fake"):
            assert (value(), text(), current_container(App).text()) == ("fake", "text of fake", "text of fake")
        assert (value(), text()) == ("real", "text of real")
        assert current_container(App) is container


def test_a_scope_that_was_made_under_it_does_not_keep_it():
    seen: list[Any] = []
    contexts: list[contextvars.Context] = []
    with override_everywhere(App, value="fake"), override(App, db="db"), lifespan(App, eager=False):
        assert value() == "fake"
        assert current_scope().overrides[0].everywhere
        contexts.append(contextvars.copy_context())
    contexts[0].run(lambda: seen.extend(override.everywhere for override in current_scope().overrides))
    assert seen == [False]


def test_what_was_prepared_is_not_kept_alive():
    with lifespan(App):
        value()
        value()
        scope = weakref.ref(current_scope())
    gc.collect()
    assert scope() is None


def test_what_a_call_prepares_while_overrides_change_is_not_kept():
    changing = override_everywhere(App, value="fake")
    changes = [changing.__enter__]

    class Changing(containers.DeclarativeContainer):
        enter = providers.Factory(lambda: changes.pop()() if changes else None)

    @inject
    def both(value: Any = Provide[App.value], _: None = Provide[Changing.enter]) -> Any:
        return value

    with lifespan(App), lifespan(Changing):
        try:
            assert both() == "real", "it was decided before"
            assert (both(), value()) == ("fake", "fake")
        finally:
            changing.__exit__(None, None, None)
        assert (both(), value()) == ("real", "real")


def test_wrong_names_speak_where_they_are_written():
    with pytest.raises(UsageError, match="did you mean 'value'"):
        override_everywhere(App, valeu=1)
    with pytest.raises(TypeError, match="expected a container class"):
        override_everywhere("App")  # pyright: ignore[reportArgumentType]
