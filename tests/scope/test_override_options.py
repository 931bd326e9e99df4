"""Single options of a configuration, overridden by their dotted names; the rest stays as it was loaded."""

import copy
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import containers, providers

from prefect_lifespan import Provide, inject, lifespan, override
from prefect_lifespan.errors import UsageError


class Gateways(containers.DeclarativeContainer):
    config = providers.Configuration(default={"key": "real", "timeout": 1})


class App(containers.DeclarativeContainer):
    config = providers.Configuration(default={"db": {"url": "real", "port": "5432"}, "debug": False})
    db = providers.Resource("{}:{}".format, config.db.url, config.db.port.as_int())
    gateways = providers.Container(Gateways)


@inject
def used(
    db: str = Provide[App.db],
    url: Any = Provide[App.config.db.url],
    config: Any = Provide[App.config],
    gateway: Any = Provide[App.gateways.container.config],
) -> tuple[Any, ...]:
    return db, url, config, gateway


def test_a_misspelt_option_is_told_what_it_may_have_meant():
    class Configured(containers.DeclarativeContainer):
        config = providers.Configuration(default={"url": "x", "db": {"host": "here"}})
        port = providers.Factory(int, config.db.port)

    for path, meant in (
        ("config.ulr", "config.url"),
        ("config.db.hots", "config.db.host"),
        ("config.db.prot", "config.db.port"),
    ):
        with pytest.raises(UsageError, match=f"no option '{path}'; did you mean '{meant}'"):
            override(Configured, {path: 1})
    for path in ("config.url", "config.url2", "config.db", "config.db.port", "config.new", "config.db.host.more"):
        override(Configured, {path: 1})


def test_one_option_is_overridden_and_the_others_stay():
    with override(App, {"config.db.url": "fake"}):
        assert used()[:2] == ("fake:5432", "fake")
        with lifespan(App):
            db, url, config, _ = used()
    assert (db, url) == ("fake:5432", "fake")
    assert config == {"db": {"url": "fake", "port": "5432"}, "debug": False}
    assert used()[:2] == ("real:5432", "real")
    assert App.config() == {"db": {"url": "real", "port": "5432"}, "debug": False}


def test_inside_an_open_lifespan_what_the_option_reaches_is_opened_anew():
    with lifespan(App):
        assert used()[0] == "real:5432"
        with override(App, {"config.db.port": 1}):
            assert used()[0] == "real:1"
        assert used()[0] == "real:5432"


def test_options_add_up_whether_written_together_or_one_inside_the_other():
    with override(App, {"config.db.url": "a", "config.db.port": 1}), override(App, {"config.db.url": "b"}):
        assert used()[0] == "b:1"
        with lifespan(App, overrides={"config.db.port": 2, "config.debug": True}):
            assert used()[2] == {"db": {"url": "b", "port": 1}, "debug": True}


def test_options_stand_over_a_whole_configuration_that_is_overridden():
    with override(App, config={"db": {"url": "whole", "port": 1}}), override(App, {"config.db.port": 2}):
        assert used()[2] == {"db": {"url": "whole", "port": 2}}
    with override(App, {"config": {"db": {"url": "whole"}}, "config.db.port": 3}):
        assert used()[0] == "whole:3"
    with override(App, {"config.db.port": 2}), override(App, config={"db": {"url": "whole", "port": 1}}):
        assert used()[0] == "whole:1"


def test_what_the_class_or_the_lifespan_has_loaded_stays(tmp_path: Path):
    file = tmp_path / "config.ini"
    file.write_text("[db]\nurl = of the file\nport = 7\n", "utf-8")

    class Loading(containers.DeclarativeContainer):
        config = providers.Configuration(ini_files=[str(file)])
        db = providers.Resource("{}:{}".format, config.db.url, config.db.port)

    with override(Loading, {"config.db.port": 8}), lifespan(Loading) as container:
        assert container.db() == "of the file:8"

    App.config.from_dict({"db": {"url": "loaded"}})
    try:
        with override(App, {"config.db.port": 8}):
            assert used()[0] == "loaded:8"
    finally:
        App.config.reset_override()


def test_an_option_that_nobody_has_set_and_one_of_a_sub_container():
    with override(App, {"config.new.option": 1, "gateways.config.key": "fake"}):
        _, _, config, gateway = used()
    assert config["new"] == {"option": 1}
    assert gateway == {"key": "fake", "timeout": 1}


def test_values_are_neither_copied_nor_checked():
    class Uncopyable:
        def __deepcopy__(self, memo: object) -> None:
            raise TypeError("never copied")

    value = Uncopyable()
    with override(App, {"config.db.url": value, "config.debug": None}), lifespan(App):
        assert used()[1] is value
        with override(App, {"config.db.port": 1}):
            assert used()[1] is value
    with pytest.raises(TypeError, match="never copied"):
        copy.deepcopy(value)


def test_a_provider_is_no_value_of_an_option():
    with pytest.raises(UsageError, match=r"App\.config\.db\.url is an option.*not with a Object provider"):
        override(App, {"config.db.url": providers.Object("x")})


def test_options_stand_over_a_configuration_that_is_made_when_asked():
    made = providers.Factory(dict, db={"url": "made", "port": "1"})
    with override(App, config=made), override(App, {"config.db.url": "x"}), lifespan(App) as container:
        assert container.db() == "x:1"


def test_what_is_no_configuration_has_no_options():
    with pytest.raises(UsageError, match=r"no provider 'db\.url' to override"):
        override(App, {"db.url": "x"})
