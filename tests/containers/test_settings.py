"""What the application promises of its settings, where they come from, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from containers.settings import PROJECT, Settings
from prefect_lifespan.settings import SettingsError

SECRET = "hunter2"


pytestmark = pytest.mark.usefixtures("prefect_server")


def load_settings(folder: Path) -> Settings:
    """The application's settings, if that were its folder."""

    class Located(Settings):
        model_config = SettingsConfigDict(env_file=folder / ".env", toml_file=folder / "settings.toml")
        project = folder

    Located.__qualname__ = Settings.__qualname__
    return Located()


def test_without_any_file_the_defaults_are_a_sqlite_file_in_the_project(project: Path) -> None:
    settings = load_settings(project)

    assert settings.warehouse_url.get_backend_name() == "sqlite"
    assert settings.warehouse_url.database == str(project / "data" / "warehouse.db")
    assert settings.report_folder == project / "reports"


def test_the_committed_settings_file_is_valid_and_says_what_the_defaults_say(clean_environment: None) -> None:
    committed = load_settings(PROJECT)

    assert committed.orchestrator == Settings.model_fields["orchestrator"].default
    assert committed.history == Settings.model_fields["history"].default


def test_environment_stands_over_dotenv_over_toml_over_defaults(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [load_settings(project).orchestrator.page_size]
    (project / "settings.toml").write_text("[orchestrator]\npage_size = 11\ntimeout_seconds = 7")
    seen.append(load_settings(project).orchestrator.page_size)
    (project / ".env").write_text("APP_ORCHESTRATOR__PAGE_SIZE=12")
    seen.append(load_settings(project).orchestrator.page_size)
    monkeypatch.setenv("APP_ORCHESTRATOR__PAGE_SIZE", "13")
    settings = load_settings(project)
    seen.append(settings.orchestrator.page_size)

    assert seen == [100, 11, 12, 13]
    assert settings.orchestrator.timeout_seconds == 7, "a source replaces single values, not whole sections"


def test_an_unknown_key_is_an_error_that_names_the_file_and_the_known_keys(project: Path) -> None:
    (project / "settings.toml").write_text("[warehouse]\nurll = 'sqlite://'\n[warehose]\nurl = 'sqlite://'")

    with pytest.raises(SettingsError) as caught:
        load_settings(project)

    message = str(caught.value)
    assert "Settings cannot be made: 2 problems" in message
    assert f"warehouse.urll is not a setting; did you mean url?; from {project / 'settings.toml'}" in message
    assert "warehose is not a setting; did you mean warehouse?" in message


def test_where_no_name_is_like_it_the_known_keys_are_told(project: Path) -> None:
    (project / "settings.toml").write_text("[warehouse]\nhost = 'db'\n[smtp]\nport = 25")

    with pytest.raises(SettingsError) as caught:
        load_settings(project)

    message = str(caught.value)
    assert "warehouse.host is not a setting; known are url, connect_timeout_seconds" in message
    assert "smtp is not a setting; known are warehouse, orchestrator, history, reports" in message


def test_a_bad_value_is_told_with_the_variable_it_came_from(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".env").write_text("APP_ORCHESTRATOR__PAGE_SIZE=999")
    with pytest.raises(SettingsError, match=r"from APP_ORCHESTRATOR__PAGE_SIZE in .*\.env"):
        load_settings(project)

    monkeypatch.setenv("APP_ORCHESTRATOR__PAGE_SIZE", "many")
    with pytest.raises(SettingsError, match="from environment variable APP_ORCHESTRATOR__PAGE_SIZE"):
        load_settings(project)


def test_a_file_that_is_no_toml_is_named(project: Path) -> None:
    (project / "settings.toml").write_text("[warehouse")

    with pytest.raises(SettingsError, match=r"settings\.toml is not valid TOML"):
        load_settings(project)


def test_other_programs_may_keep_their_variables_in_the_same_dotenv(project: Path) -> None:
    (project / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:4200/api\nEDITOR=vi")

    load_settings(project)


def test_a_misspelt_variable_of_ours_in_dotenv_is_an_error(project: Path) -> None:
    (project / ".env").write_text("APP_WAREHOSE__URL=sqlite://")

    with pytest.raises(SettingsError, match="APP_WAREHOSE"):
        load_settings(project)


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@db/prod", "postgres://u:p@db/prod", "postgresql+psycopg2://u:p@db/prod"]
)
def test_postgresql_is_spoken_with_psycopg_however_the_url_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", url)

    assert load_settings(project).warehouse_url.drivername == "postgresql+psycopg"


def test_no_printed_form_of_the_settings_shows_the_password(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", f"postgresql://app:{SECRET}@db/prod")
    settings = load_settings(project)

    shown = [str(settings), repr(settings), settings.model_dump_json(), repr(settings.warehouse_url), f"{settings!r}"]
    assert [text for text in shown if SECRET in text] == []
    assert settings.warehouse_url.password == SECRET, "while the engine gets it"


@pytest.mark.parametrize("url", [f"mysql://app:{SECRET}@db/prod", f"{SECRET}", f"postgresql://app:{SECRET}@db:port/x"])
def test_no_error_about_a_bad_url_repeats_it(project: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", url)

    with pytest.raises(SettingsError) as caught:
        load_settings(project)

    assert "warehouse.url: expected sqlite:///" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        assert SECRET not in str(error)
        error = error.__cause__ or error.__context__


def test_an_at_sign_in_a_password_does_not_show_the_rest_of_it_as_the_host(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_WAREHOUSE__URL", f"postgresql://app:pass@{SECRET}@db/prod")

    with pytest.raises(SettingsError, match="%40") as caught:
        load_settings(project)

    assert SECRET not in str(caught.value)
    monkeypatch.setenv("APP_WAREHOUSE__URL", f"postgresql://app:pass%40{SECRET}@db/prod")
    assert load_settings(project).warehouse_url.password == f"pass@{SECRET}"


def test_a_section_that_is_no_section_is_told_without_its_value(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_WAREHOUSE", SECRET)

    with pytest.raises(SettingsError, match="warehouse") as caught:
        load_settings(project)

    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_text_is_named(project: Path) -> None:
    (project / "settings.toml").write_bytes(b"[warehouse]\nurl = '\xff'")

    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load_settings(project)


def test_a_misspelt_section_in_the_environment_is_an_error_and_other_programs_variables_are_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    load_settings(project)

    monkeypatch.setenv("APP_WAREHOSE__URL", f"postgresql://app:{SECRET}@db/prod")
    monkeypatch.setenv("APP_ORCHESTRATOR__PAGE_SIZE", "0")
    with pytest.raises(SettingsError) as caught:
        load_settings(project)

    message = str(caught.value)
    assert "environment variable APP_WAREHOSE__URL is not a setting; did you mean APP_WAREHOUSE?" in message
    assert "orchestrator.page_size" in message, "both at once"
    assert SECRET not in message
