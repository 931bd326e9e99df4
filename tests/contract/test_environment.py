"""What the environment must be for the libraries underneath to work at all."""

from importlib.metadata import version

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings


def release(distribution: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(distribution).split(".")[:2] if part.isdigit())


def test_fastapi_is_one_that_prefects_server_can_run_on() -> None:
    """If `fastapi<0.151` leaves pyproject.toml this fails first, with less to read than a flow run that dies."""
    assert release("fastapi") < (0, 151)


def test_the_two_libraries_are_of_the_releases_that_the_facts_were_measured_on() -> None:
    """A new minor release of either: run these tests, read what failed, then raise the numbers here."""
    assert release("dependency-injector") == (4, 49)
    assert release("prefect") in {(3, 8), (3, 9)}


def test_the_embedded_api_answers(prefect_server: str) -> None:
    """If this fails, no flow runs in this environment: look at the server's own dependencies first."""
    with temporary_settings(updates={PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        assert client.api_healthcheck() is None
        assert client.hello().status_code == 200
        assert client.read_flows(limit=1) is not None


def test_the_embedded_api_listens_on_this_machine_only(prefect_server: str) -> None:
    """Tests open nothing to the network."""
    assert prefect_server.startswith("http://127.0.0.1:")


@pytest.mark.usefixtures("prefect_server")
def test_nothing_is_reported_about_the_tests() -> None:
    """If this fails, flow runs in tests send usage events to a host on the internet."""
    from prefect._internal.analytics.enabled import is_telemetry_enabled

    assert not is_telemetry_enabled()
