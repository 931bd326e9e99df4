"""What the sources of settings rely on in pydantic-settings: who is asked, for which names, and where answers are kept."""

import os
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.sources import DefaultSettingsSource


class Table(BaseModel):
    url: str = ""


class First(PydanticBaseSettingsSource):
    kept: Any = None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        type(self).kept = self.settings_sources_data
        return {}


class Last(First):
    seen: Any = None

    def __call__(self) -> dict[str, Any]:
        type(self).seen = dict(self.current_state)
        return {"table": {"url": "last"}, "CONTRACT_A": 9}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="CONTRACT_", env_nested_delimiter="__")

    table: Table = Table()
    size: int = Field(default=0, validation_alias=AliasChoices("CONTRACT_A", "CONTRACT_B"))

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return First(settings_cls), EnvSettingsSource(settings_cls), Last(settings_cls)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CONTRACT_")]:
        monkeypatch.delenv(name)


def test_what_sources_give_is_kept_in_one_dictionary_by_their_names_the_strongest_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTRACT_TABLE__URL", "env")
    settings = Settings()
    assert list(First.kept) == ["First", "EnvSettingsSource", "Last", DefaultSettingsSource.__name__]
    assert First.kept["EnvSettingsSource"] == {"table": {"url": "env"}}
    assert First.kept["Last"] == {"table": {"url": "last"}, "CONTRACT_A": 9}
    assert Last.seen == {"table": {"url": "env"}}, "a source knows what stronger ones have said"
    assert (settings.table.url, settings.size) == ("env", 9)


def test_a_source_asks_its_variables_for_each_name_of_a_field() -> None:
    asked: list[str] = []

    class Variables(dict[str, str | None]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return default

    source = EnvSettingsSource(Settings)
    source.env_vars = Variables()
    for name, field in Settings.model_fields.items():
        source.get_field_value(field, name)
    assert asked == ["contract_table", "contract_a", "contract_b"]


def test_how_names_are_made_stands_in_attributes_of_a_source_which_keywords_of_one_making_change() -> None:
    source = EnvSettingsSource(Settings, env_prefix="OTHER_", env_nested_delimiter="--", env_ignore_empty=True)
    other = EnvSettingsSource(Settings)
    for name, value in vars(source).items():
        if name == "maxsplit" or (name.startswith("env_") and name != "env_vars"):
            setattr(other, name, value)
    other.env_vars = {"other_table--url": "x", "contract_table__url": "y"}
    assert other() == {"table": {"url": "x"}}


def test_an_error_of_validation_names_the_class_that_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTRACT_A", "x")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert raised.value.title == "Settings"


def test_a_class_is_told_by_the_name_and_the_module_of_its_base() -> None:
    assert (BaseSettings.__name__, BaseSettings.__module__.partition(".")[0]) == ("BaseSettings", "pydantic_settings")
