"""The site builds without a warning and without a network, and its parts are all there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prefect_lifespan

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # What would ask for anything beyond this machine ends at a proxy that is not there.
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-d", str(folder / "doctrees")]
    done = subprocess.run(  # noqa: S603
        [*command, str(DOCS), str(folder / "html")],
        env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_in_the_site_and_in_llms_txt(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert pages == {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")} - {
        "genindex", "search", "py-modindex"
    }  # fmt: skip
    listed = re.findall(r"^- \[.+\]\((.+)\.html\): \S", (site / "llms.txt").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(pages - {"index"})
    assert "## Findings of containers" in (site / "llms-full.txt").read_text("utf-8")


def test_the_reference_tells_of_every_public_name(site: Path) -> None:
    text = "".join(page.read_text("utf-8") for page in (site / "reference").glob("*.html"))
    of_dependency_injector = {"Closing", "Provide", "Provider"}
    for name in set(prefect_lifespan.__all__) - of_dependency_injector:
        assert f'id="prefect_lifespan.{name}"' in text, name


def test_the_address_of_an_error_is_a_place_on_its_page(site: Path) -> None:
    text = (site / "errors.html").read_text("utf-8")
    for entry in re.findall(r"^### (\S+)$", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE):
        assert f'id="{entry.lower()}"' in text, entry
