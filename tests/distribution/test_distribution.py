"""What is uploaded: the wheel holds the library and nothing else, the source all that its tests ask for, and both tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib.metadata import EntryPoint, distribution
from pathlib import Path, PurePosixPath

import pytest
from packaging.version import Version

import prefect_lifespan

ROOT = Path(__file__).parents[2]
NAME = "prefect_lifespan"
LARGEST_WHEEL_BYTES = 500_000
MADE = {"__pycache__", "_build", "data", "reports"}  # what commands leave in the tree, and no repository holds


@dataclass(frozen=True)
class Built:
    """A wheel and a source distribution."""

    wheel: Path
    source: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=ROOT,
        check=True,
        timeout=100,
        capture_output=True,
    )
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, source)


def files(*folders: str) -> set[str]:
    """The files of the tree that a person wrote."""
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not MADE & {*path.parts} and path.suffix != ".pyc"}


def in_wheel(built: Built) -> dict[str, bytes]:
    with zipfile.ZipFile(built.wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(built: Built) -> Message:
    (text,) = (content for name, content in in_wheel(built).items() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(text.decode())


def test_the_wheel_holds_the_library_with_its_types_and_templates_and_nothing_else(built: Built) -> None:
    content = in_wheel(built)
    information = f"{NAME}-{prefect_lifespan.__version__}.dist-info"
    library = {name for name in content if not name.startswith(f"{information}/")}

    assert library == {name.removeprefix("src/") for name in files("src")}
    assert {f"{NAME}/py.typed", "_prefect_lifespan_pytest.py"} <= library
    assert f"{information}/licenses/LICENSE" in content
    assert built.wheel.name == f"{NAME}-{prefect_lifespan.__version__}-py3-none-any.whl"
    assert built.wheel.stat().st_size < LARGEST_WHEEL_BYTES


def test_the_metadata_says_what_it_is_and_what_it_needs(built: Built) -> None:
    told = metadata(built)

    assert told["Name"] == "prefect-lifespan"
    assert told["Version"] == prefect_lifespan.__version__ == distribution("prefect-lifespan").version
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Description-Content-Type"] == "text/markdown"
    assert "# prefect-lifespan" in str(told.get_payload())
    assert {*told.get_all("Provides-Extra", [])} == {"dask", "ray", "pictures"}
    needed = {re.split(r"[^\w-]", each)[0] for each in told.get_all("Requires-Dist", []) if "extra ==" not in each}
    assert {"prefect", "dependency-injector", "pydantic-settings"} <= needed
    assert not needed & {"sqlalchemy", "matplotlib", "jinja2", "typer", "pytest"}, "of the application, or of tests"


def test_where_the_repository_is_known_the_readme_that_is_uploaded_links_to_it(tmp_path: Path) -> None:
    for name in ("README.md", "LICENSE", "hatch_build.py", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    urls = '[project.urls]\nSource = "https://example.org/us/it"\n\n[project.scripts]'
    (tmp_path / "pyproject.toml").write_text(project.replace("[project.scripts]", urls, 1), "utf-8")
    command = [sys.executable, "-m", "hatchling", "metadata", "readme"]
    told = subprocess.run(command, cwd=tmp_path, check=True, timeout=100, capture_output=True, text=True).stdout  # noqa: S603

    release = f"v{prefect_lifespan.__version__}"
    assert f"](https://example.org/us/it/blob/{release}/docs/limits.md)" in told
    assert f"](https://example.org/us/it/raw/{release}/docs/pictures/run-report.png)" in told
    assert re.findall(r"\]\((?!https?:|#)[^)]+", told) == []


def test_every_entry_point_leads_to_something(built: Built) -> None:
    (text,) = (content for name, content in in_wheel(built).items() if name.endswith("/entry_points.txt"))
    groups = dict(re.findall(r"\[(.+)\]\n((?:.+\n?)+)", text.decode()))

    assert {*groups} == {"console_scripts", "pytest11", "prefect.collections"}
    for group, lines in groups.items():
        for line in lines.splitlines():
            name, value = line.split(" = ")
            assert EntryPoint(name, value, group).load() is not None


def test_the_source_holds_all_that_its_tests_ask_for(built: Built) -> None:
    with tarfile.open(built.source) as archive:
        held = {
            PurePosixPath(name).relative_to(f"{NAME}-{prefect_lifespan.__version__}") for name in archive.getnames()
        }
    single = {"pyproject.toml", "Makefile", "settings.toml", "prefect.yaml", "README.md", "CHANGELOG.md", "LICENSE"}

    wanted = files("src", "tests", "containers", "flows", "benchmarks", "docs") | single
    assert wanted - {path.as_posix() for path in held} == set()
    assert {path.parts[0] for path in held if path.parts} & {".github", ".venv", "data", "reports", "dist"} == set()


def test_version_and_changelog_agree() -> None:
    """A release has a section of its own; what comes after one stands under Unreleased, above it."""
    headings = re.findall(r"^## (\S+)(?: - (.*))?$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    versions = [Version(name) for name, _ in headings if name != "Unreleased"]

    assert headings, "the changelog has no section"
    assert "Unreleased" not in {name for name, _ in headings[1:]}, "Unreleased stands first"
    assert versions == sorted({*versions}, reverse=True), "the newest first, each once"
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for name, date in headings if name != "Unreleased")
    here = Version(prefect_lifespan.__version__)
    if headings[0][0] == "Unreleased":
        assert here > max(versions, default=Version("0")), "the version is that of the next release"
    else:
        assert here == versions[0]


def test_the_oldest_row_of_the_table_of_versions_holds_the_lower_bounds() -> None:
    project, rows = (ROOT / "pyproject.toml").read_text("utf-8"), (ROOT / "noxfile.py").read_text("utf-8")
    bounds = {name: re.search(rf'"{name}>=([\d.]+)', project) for name in ("prefect", "pydantic-settings")}

    assert {name: bound and bound[1] for name, bound in bounds.items()} == {
        name: pin[1] if (pin := re.search(rf'"{name}==([\d.]+)"', rows)) else None for name in bounds
    }
