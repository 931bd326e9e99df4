"""The pictures of the documentation show what is there today."""

import re
import subprocess
import sys
from pathlib import Path

from prefect_lifespan.engine import State

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"


def texts(picture: Path) -> list[str]:
    """Every text of a picture; where each stands is the layout's business."""
    return sorted(re.findall(r"<(?:text|tspan)[^>]*>([^<]+)<", picture.read_text("utf-8")))


def test_the_graph_in_the_readme_is_the_one_that_the_command_draws(tmp_path: Path) -> None:
    picture = tmp_path / "graph.svg"
    command = [sys.executable, "-m", "prefect_lifespan", "graph", "containers.app:AppContainer", "flows"]
    subprocess.run([*command, "-f", "svg", "-o", str(picture)], cwd=ROOT, timeout=100, check=True)  # noqa: S603
    assert "run-history.svg" in (ROOT / "README.md").read_text("utf-8")
    assert len(texts(picture)) > 10
    assert texts(picture) == texts(PICTURES / "run-history.svg")


def test_the_life_of_a_resource_has_the_states_that_a_slot_has() -> None:
    shown = [text for text in texts(PICTURES / "life-of-a-resource.svg") if text.isupper()]
    assert shown == sorted(state.name for state in State)


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 150
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
