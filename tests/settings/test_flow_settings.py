"""FlowSettings without an API: order, profiles, one error for everything, nothing of a secret."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pydantic_settings
import pytest
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, PostgresDsn, SecretStr, field_validator
from pydantic_settings import BaseSettings, JsonConfigSettingsSource, SettingsConfigDict

from prefect_lifespan import LifespanError, UsageError
from prefect_lifespan.settings import FlowSettings, SettingsError, explain

SECRET = "hunter2-swordfish"
S = TypeVar("S", bound=BaseSettings)


def made(settings: type[S], **values: Any) -> S:
    return settings(**values)  # type checkers know nothing of values that come from elsewhere


def no_hash(value: str) -> str:
    if "#" in value:
        msg = f"{value} has a #"
        raise ValueError(msg)
    return value


class Warehouse(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: SecretStr
    pool_size: Annotated[int, Field(ge=1, le=50)] = 5
    label: Annotated[str, AfterValidator(no_hash)] = "main"


class Settings(FlowSettings):
    warehouse: Warehouse
    page_size: int = 100


class Plain(FlowSettings):
    page_size: int = 100
    names: list[str] = Field(default_factory=list)


def test_each_place_stands_over_the_ones_behind_it_value_by_value(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithSecrets(Settings):
        model_config = SettingsConfigDict(secrets_dir=project / "secrets")

    (project / "secrets").mkdir()
    (project / "settings.toml").write_text(f"page_size = 1\n[warehouse]\nurl = '{SECRET}'\npool_size = 11")
    seen = [made(WithSecrets).page_size]
    (project / "secrets" / "app_page_size").write_text("2")
    seen.append(made(WithSecrets).page_size)
    (project / ".env").write_text("APP_PAGE_SIZE=3\nAPP_WAREHOUSE__POOL_SIZE=33\nPREFECT_LOGGING_LEVEL=INFO\nEDITOR=vi")
    seen.append(made(WithSecrets).page_size)
    monkeypatch.setenv("APP_PAGE_SIZE", "4")
    seen.append(made(WithSecrets).page_size)
    settings = made(WithSecrets, page_size=5)

    assert [*seen, settings.page_size] == [1, 2, 3, 4, 5]
    assert settings.warehouse.pool_size == 33
    assert settings.warehouse.url.get_secret_value() == SECRET, "a place replaces values, not whole tables"


def test_one_error_lists_all_that_is_missing_wrong_and_unknown_each_with_its_place(
    project: Path, no_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "settings.toml").write_text("page_size = 'many'\n[warehouse]\npool_sise = 3\n[warehose]\nurl = 1")
    (project / ".env").write_text("APP_WAREHOUSE__POOL_SIZE=99\nAPP_PAGESIZE=3")
    monkeypatch.setenv("APP_WARHOUSE__URL", SECRET)

    with pytest.raises(SettingsError) as raised:
        made(Settings)

    text = str(raised.value)
    assert text.startswith("Settings cannot be made: 8 problems.")
    assert (
        "warehouse.url is missing; looked for in environment variable APP_WAREHOUSE__URL, APP_WAREHOUSE__URL in .env, "
        "Secret block app-warehouse--url, Variable app_warehouse__url, warehouse.url in settings.toml" in text
    )
    assert (
        "warehouse.pool_size: Input should be less than or equal to 50; from APP_WAREHOUSE__POOL_SIZE in .env" in text
    )
    assert "page_size: Input should be a valid integer" in text
    assert "; from settings.toml\n" in text
    assert "warehouse.pool_sise is not a setting; did you mean pool_size?; from settings.toml" in text
    assert "warehose is not a setting; did you mean warehouse?; from settings.toml" in text
    assert "app_pagesize is not a setting; did you mean page_size?; from APP_PAGESIZE in .env" in text
    assert "environment variable APP_WARHOUSE__URL is not a setting; did you mean APP_WAREHOUSE?" in text
    assert f"Prefect's API {no_api} cannot be asked: ConnectError" in text
    assert SECRET not in text
    assert isinstance(raised.value, LifespanError)
    assert isinstance(raised.value, pydantic_settings.SettingsError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == text  # noqa: S301 - our own


@pytest.mark.parametrize("value", [f"{SECRET}#", '{"url": 1', "[1, 2]", f'{{"url": "{SECRET}", "label": "{SECRET}#"}}'])
def test_no_problem_holds_a_secret_however_it_was_told(
    project: Path, prefect_server: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_WAREHOUSE", value)
    with pytest.raises(SettingsError, match="warehouse") as raised:
        made(Settings)
    shown: list[BaseException | None] = [raised.value, raised.value.__cause__, raised.value.__context__]
    assert [error for error in shown if SECRET in f"{error}{error!r}"] == []


def test_a_text_that_is_no_json_is_told_with_all_the_rest(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_NAMES", "a, b")
    monkeypatch.setenv("APP_PAGE_SIZE", "x")
    with pytest.raises(SettingsError) as raised:
        Plain()
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["page_size", "names"]
    assert "from environment variable APP_NAMES" in raised.value.problems[1]


def test_the_chosen_profile_stands_over_the_default_one(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "settings.toml").write_text(
        "[default]\npage_size = 1\nnames = ['a']\n[production]\npage_size = 2\n[staging]\npage_size = 3"
    )
    assert (Plain().page_size, Plain().names) == (1, ["a"])
    monkeypatch.setenv("APP_PROFILE", "production")
    assert (Plain().page_size, Plain().names) == (2, ["a"])
    monkeypatch.delenv("APP_PROFILE")
    (project / ".env").write_text("APP_PROFILE=staging")
    assert Plain().page_size == 3
    assert [f.source for f in explain(Plain).fields] == ["settings.toml [staging]", "settings.toml [default]"]


def test_another_prefix_has_a_profile_of_its_own(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shop(FlowSettings):
        model_config = SettingsConfigDict(env_prefix="SHOP_")
        page_size: int = 0

    (project / "settings.toml").write_text("[default]\n[a]\npage_size = 1\n[b]\npage_size = 2")
    monkeypatch.setenv("APP_PROFILE", "a")
    assert Shop().page_size == 1
    monkeypatch.setenv("SHOP_PROFILE", "b")
    assert Shop().page_size == 2


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        (
            "[default]\n[production]\n[staging]",
            "the profiles are default, production, staging; did you mean production?",
        ),
        ("page_size = 3", r"has no profiles: write \[default\] and \[prodution\]"),
        (None, r"there is no .*settings\.toml"),
        ("[default]\n[prodution]\n[names]\nx = 1", r"names in .*settings\.toml stands in no profile"),
        ("page_size = 3\n[default]", r"page_size in .*settings\.toml stands in no profile"),
        ("[default", r"settings\.toml is not valid TOML"),
        ("page_size = 1\n\n[[default]\nx = 1", r"settings\.toml is not valid TOML: .*line 3"),
    ],
)
def test_a_profile_that_is_not_there_or_a_file_that_is_none_is_told(
    project: Path, prefect_server: str, toml: str | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if toml is not None:
        (project / "settings.toml").write_text(toml)
    monkeypatch.setenv("APP_PROFILE", "prodution")
    with pytest.raises(SettingsError, match=problem):
        Plain()


def test_a_later_file_stands_over_an_earlier_one_value_by_value(project: Path, prefect_server: str) -> None:
    class Two(Settings):
        model_config = SettingsConfigDict(toml_file=["settings.toml", "local.toml"])

    (project / "settings.toml").write_text("[default.warehouse]\nurl = 'a'\npool_size = 2")
    (project / "local.toml").write_text("[warehouse]\npool_size = 3")
    assert made(Two).warehouse.pool_size == 3
    assert [f.source for f in explain(Two).fields[:2]] == ["settings.toml [default]", "local.toml"]


def test_aliases_and_cases_are_those_of_pydantic_settings(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inner(BaseModel):
        key: str = Field(default="", validation_alias=AliasChoices("KEY_A", "KEY_B"))

    class Aliased(FlowSettings):
        size: int = Field(default=0, validation_alias=AliasChoices("SHOP_SIZE", "SHOP_LENGTH"))
        inner: Inner = Inner()
        labels: dict[str, str] = Field(default_factory=dict)

    monkeypatch.setenv("SHOP_LENGTH", "3")
    monkeypatch.setenv("APP_INNER__KEY_B", "b")
    monkeypatch.setenv("APP_LABELS__TEAM", "data")
    settings = made(Aliased)
    assert (settings.size, settings.inner.key, settings.labels) == (3, "b", {"team": "data"})
    assert {f.path: f.source for f in explain(Aliased).fields} == {
        "size": "environment variable SHOP_LENGTH",
        "inner.key": "environment variable APP_INNER__KEY_B",
        "labels": "environment variable APP_LABELS",
    }


def test_an_api_that_is_not_needed_is_not_asked(silent_api: str) -> None:
    begun = time.monotonic()
    settings = Settings(warehouse=Warehouse(url=SecretStr("x")), page_size=1)
    assert settings.page_size == 1
    assert time.monotonic() - begun < Settings.prefect_timeout_seconds


def test_an_api_that_cannot_be_reached_is_one_line_in_the_log_where_nothing_is_missing_without_it(
    no_api: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert Plain().page_size == 100
    (record,) = [r for r in caplog.records if "cannot be asked" in r.getMessage()]
    assert record.getMessage().endswith(
        "not looked up, Secret blocks: app-page-size, app-names; Variables: app_page_size, app_names"
    )


def test_one_that_does_not_answer_costs_the_stated_time_once(silent_api: str) -> None:
    class Impatient(Settings):
        prefect_timeout_seconds = 0.5

    begun = time.monotonic()
    with pytest.raises(SettingsError, match=r"no answer within 0\.5 s"):
        made(Impatient)
    assert time.monotonic() - begun < 5, "not twice, and no retries of the client's"


def test_explain_shows_places_masks_secrets_and_goes_on_where_settings_cannot_be_made(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shown(Settings):
        dsn: str = f"postgresql://app:{SECRET}@db/prod"
        api_token: str = SECRET
        nested: dict[str, str] = Field(default={"password": SECRET, "host": "db"})
        wrong: int = 1

    monkeypatch.setenv("APP_WAREHOUSE__URL", SECRET)
    monkeypatch.setenv("APP_WRONG", "no number")
    (project / "settings.toml").write_text("page_size = 7")

    explanation = explain(Shown)

    data = {f["path"]: (f["value"], f["source"]) for f in explanation.to_dict()["fields"]}
    assert data == {
        "warehouse.url": ("***", "environment variable APP_WAREHOUSE__URL"),
        "warehouse.pool_size": (5, "default"),
        "warehouse.label": ("main", "default"),
        "page_size": (7, "settings.toml"),
        "dsn": ("postgresql://app:***@db/prod", "default"),
        "api_token": ("***", "default"),
        "nested": ({"password": "***", "host": "db"}, "default"),
        "wrong": ("no number", "environment variable APP_WRONG"),
    }
    (problem,) = explanation.problems
    assert problem.startswith("wrong: Input should be a valid integer")
    printed = str(explanation)
    assert SECRET not in printed
    assert "environment variable APP_WAREHOUSE__URL" in printed
    monkeypatch.delenv("APP_WAREHOUSE__URL")
    monkeypatch.delenv("APP_WRONG")
    assert explain(Shown).to_dict()["fields"][0] == {"path": "warehouse.url", "value": None, "source": "missing"}


class Account(BaseModel):
    kind: Literal["account"] = "account"
    pin: SecretStr

    @field_validator("pin")
    @classmethod
    def long_enough(cls, pin: SecretStr) -> SecretStr:
        if len(pin.get_secret_value()) < 20:
            msg = f"{pin.get_secret_value()} is short"
            raise ValueError(msg)
        return pin


class Guest(BaseModel):
    kind: Literal["guest"] = "guest"


@dataclass
class Vault:
    pin: SecretStr


class Holding(FlowSettings):
    listed: list[Account] = Field(default_factory=list)
    by_name: dict[str, Account] = Field(default_factory=dict)
    either: Annotated[Account | Guest, Field(discriminator="kind")] = Guest()
    vault: Vault | None = None
    wrong: int = 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_LISTED", [{"pin": SECRET}]),
        ("APP_BY_NAME", {"a": {"pin": SECRET}}),
        ("APP_EITHER", {"kind": "account", "pin": SECRET}),
        ("APP_VAULT", {"pin": SECRET}),
    ],
)
def test_a_secret_in_a_list_a_dictionary_a_union_or_a_dataclass_is_shown_nowhere(
    project: Path, prefect_server: str, variable: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, json.dumps(value))
    monkeypatch.setenv("APP_WRONG", "no number")
    with pytest.raises(SettingsError, match="wrong") as raised:
        Holding()
    assert SECRET not in str(raised.value)
    explanation = explain(Holding)
    assert SECRET not in f"{explanation}{explanation.to_dict()}"


def test_explain_takes_a_default_that_is_made_from_other_fields(project: Path, prefect_server: str) -> None:
    class Derived(FlowSettings):
        size: int
        double: int = Field(default_factory=lambda data: data["size"] * 2)

    found = {f["path"]: (f["value"], f["source"]) for f in explain(Derived).to_dict()["fields"]}
    assert found == {"size": (None, "missing"), "double": (None, "default")}


def test_explain_shows_any_value_as_json_has_it(project: Path, prefect_server: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return f"Odd(password={SECRET!r})"

    class Anything(FlowSettings):
        model_config = SettingsConfigDict(arbitrary_types_allowed=True)
        blob: bytes = b"\xff"
        most: float = float("inf")
        some: set[int] = Field(default_factory=lambda: {1})
        path: Path = Path("/x")
        odd: Odd = Field(default_factory=Odd)
        names: list[str] = Field(default_factory=lambda: ["[red]a[/red]"])

    explanation = explain(Anything)
    assert "[red]a[/red]" in str(explanation)
    data = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert [field["value"] for field in data["fields"]] == [
        *("ff", "inf", [1], "/x", "Odd(password=***)"),
        ["[red]a[/red]"],
    ]


def test_a_file_that_cannot_be_read_is_named(project: Path, prefect_server: str) -> None:
    class Unreadable(Plain):
        model_config = SettingsConfigDict(toml_file="/proc/self/mem")

    with pytest.raises(SettingsError, match="/proc/self/mem cannot be read: Input/output error"):
        Unreadable()
    (project / ".env").write_bytes(b"APP_PAGE_SIZE='\xff'")
    with pytest.raises(SettingsError, match=r"\.env.* is no text: invalid start byte"):
        Plain()


def test_a_folder_and_a_file_without_its_header_are_told(project: Path, prefect_server: str) -> None:
    (project / "settings.toml").mkdir()
    with pytest.raises(SettingsError, match="settings.toml is a folder"):
        Plain()

    class Headed(Plain):
        model_config = SettingsConfigDict(toml_file="other.toml", toml_table_header=("tool", "app"))

    (project / "other.toml").write_text("[tool.app]\npage_size = 3")
    assert Headed().page_size == 3
    (project / "other.toml").write_text("page_size = 3")
    with pytest.raises(SettingsError, match='key "tool" not found in other.toml'):
        Headed()


def test_explain_claims_nothing_where_a_place_could_not_be_read(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PAGE_SIZE", "7")
    (project / "settings.toml").write_text("[")
    explanation = explain(Plain)
    assert explanation.fields == ()
    assert "not valid TOML" in str(explanation)


def test_a_file_that_is_not_ours_to_read_is_named(project: Path, prefect_server: str) -> None:
    (project / ".env").write_text("APP_PAGE_SIZE=3")
    (project / ".env").chmod(0)
    if os.access(".env", os.R_OK):
        pytest.skip("everything is readable to this user")
    with pytest.raises(SettingsError, match=r"\.env cannot be read: Permission denied"):
        Plain()


def test_explain_takes_any_class_of_pydantic_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(BaseSettings):
        size: int
        other: str = "o"

    monkeypatch.setenv("SIZE", "3")
    assert explain(Own).to_dict() == {
        "fields": [
            {"path": "size", "value": 3, "source": "environment variable SIZE"},
            {"path": "other", "value": "o", "source": "default"},
        ]
    }


@pytest.mark.parametrize("base", [BaseSettings, FlowSettings])
def test_what_is_missing_is_told_where_settings_have_no_file(
    base: type[BaseSettings], prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_FILE_SIZE", raising=False)

    class Own(base, env_prefix="NO_FILE_", env_file=None, toml_file=None):
        size: int

    (problem,) = explain(Own).problems
    assert problem.startswith("size is missing; looked for in environment variable NO_FILE_SIZE")


def test_importing_the_library_loads_none_of_it() -> None:
    program = (
        "import sys, prefect_lifespan; names = ('settings', 'blocks', 'concurrency');"
        "print([n for n in names if f'prefect_lifespan.{n}' in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own
    assert done.stdout.strip() == "[]"


class Wide(FlowSettings):
    listed: list[Account] = Field(default_factory=list)
    headers: dict[str, str] = Field(default_factory=dict)
    hidden: Annotated[str, AfterValidator(no_hash)] = Field(default="", repr=False)
    password: Annotated[str, AfterValidator(no_hash)] = ""
    dsn: PostgresDsn | None = None
    proxy: str = ""
    wrong: int = 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_LISTED", f'[{{"pin": "{SECRET}"'),
        ("APP_LISTED__PIN", SECRET),
        ("APP_HEADERS", f'{{"X-Api-Key": "{SECRET}", "accessToken": "{SECRET}", "Authorization": "Bearer {SECRET}"}}'),
        ("APP_HIDDEN", SECRET),
        ("APP_HIDDEN", f"{SECRET}#"),
        ("APP_PASSWORD", f"{SECRET}#"),
        ("APP_DSN", f"postgresql//app:{SECRET}@db/x"),
        ("APP_PROXY", f"app:{SECRET}@proxy:3128"),
    ],
)
def test_a_secret_is_shown_nowhere_also_where_it_is_not_what_it_should_be(
    project: Path, prefect_server: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("APP_WRONG", "no number")
    with pytest.raises(SettingsError, match="wrong") as raised:
        Wide()
    assert SECRET not in str(raised.value)
    monkeypatch.setenv("APP_WRONG", "1")
    for explanation in (explain(Wide), explain(Wide)):
        assert SECRET not in f"{explanation}{explanation!r}{json.dumps(explanation.to_dict())}"


class JsonFile(JsonConfigSettingsSource):
    """A source of somebody's own."""


def test_what_comes_from_a_source_of_ones_own_or_from_a_command_line_is_said_to(
    project: Path, prefect_server: str
) -> None:
    class Own(Plain):
        other: int

        @classmethod
        def settings_customise_sources(cls, settings_cls: type[BaseSettings], *args: Any, **sources: Any) -> Any:
            inherited = super().settings_customise_sources(settings_cls, *args, **sources)
            return (JsonFile(settings_cls, json_file="own.json"), *inherited)

    (project / "own.json").write_text('{"page_size": "many"}')
    with pytest.raises(SettingsError) as raised:
        made(Own)
    assert raised.value.problems[0].endswith("; from JsonFile")
    assert raised.value.problems[1].startswith("other is missing; looked for in JsonFile, environment variable")
    (project / "own.json").write_text('{"page_size": 3, "other": 1}')
    assert {f.path: f.source for f in explain(Own).fields} == {
        "page_size": "JsonFile",
        "names": "default",
        "other": "JsonFile",
    }

    class Called(Plain, cli_parse_args=["--page_size", "5"]): ...

    assert explain(Called).fields[0].source == "command line"


def test_two_classes_of_one_prefix_are_not_taken_for_each_other(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mail(BaseModel):
        host: str = ""

    class Short(FlowSettings):
        a: int = 0
        mail: Mail = Mail()

    monkeypatch.setenv("APP_DB__HOST", "db")
    monkeypatch.setenv("APP_EMAILS__HOST", "other")
    assert made(Short).a == 0
    monkeypatch.setenv("APP_MAILS__HOST", "mail")
    with pytest.raises(SettingsError, match=r"APP_MAILS__HOST is not a setting; did you mean APP_MAIL\?"):
        made(Short)


def test_what_is_wrong_with_settings_inside_others_names_their_class(
    project: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inner(BaseSettings):
        page_size: int
        size: SecretStr

    class Outer(Plain):
        inner: Inner = Field(default_factory=lambda: made(Inner))

    monkeypatch.setenv("PAGE_SIZE", "many")
    with pytest.raises(SettingsError) as raised:
        made(Outer)
    assert raised.value.problems == (
        "Inner: page_size: Input should be a valid integer, unable to parse string as an integer",
        "Inner: size: Field required",
    )


def test_explain_refuses_what_is_no_class_of_settings(project: Path, prefect_server: str) -> None:
    wrong: list[Any] = [int, Plain(page_size=3, names=[])]
    for each in wrong:
        with pytest.raises(UsageError, match=r"takes a class of pydantic-settings, not (int|an object of Plain)"):
            explain(each)
