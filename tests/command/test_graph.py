"""`graph` draws what a container declares, how long that lives, what needs what, and who asks for it."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from prefect_lifespan.command.graphing import picture_for
from prefect_lifespan.command.pictures.layout import WIDEST, layout_of
from prefect_lifespan.command.pictures.picture import COLOURS, Picture
from tests.command.conftest import PROGRAMS, InProcess, Run

ROOT = Path(__file__).parents[2]
Output = pytest.CaptureFixture[str]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Picture:
    """The picture of a container of sixty providers, with its flows and tasks."""
    monkeypatch.chdir(PROGRAMS)
    return picture_for(["large.py"])


def test_json_is_as_the_design_says(run: Run) -> None:
    done = run("graph", "containers.app:AppContainer", "-f", "json", cwd=ROOT)
    assert done.code == 0, done.err
    told: dict[str, Any] = done.json
    assert list(told) == ["container", "nodes", "edges"]
    assert told["container"] == "AppContainer"
    assert {
        "path": "warehouse", "kind": "Resource", "lifetime": "run", "asynchronous": False, "overridden": False,
    } in told["nodes"]  # fmt: skip
    assert {"from": "history", "to": "warehouse"} in told["edges"]
    paths = {node["path"] for node in told["nodes"]}
    assert all(list(node) == ["path", "kind", "lifetime", "asynchronous", "overridden"] for node in told["nodes"])
    assert all(list(edge) == ["from", "to"] and paths.issuperset(edge.values()) for edge in told["edges"])


def test_the_tree_has_what_nothing_needs_at_the_top_and_what_that_needs_below(
    capsys: Output, in_process: InProcess
) -> None:
    assert in_process("graph", "plain:Plain") == 0
    assert capsys.readouterr().out == (
        "Plain\n"
        "├── session  TaskResource\n"
        "│   └── db  Resource\n"
        "│       └── settings  Singleton\n"
        "└── model  ProcessResource\n"
        "\n"
        "■ one per flow run   ■ one per task run   ■ one per process   ■ no resource\n"
    )


def test_who_opens_it_who_asks_for_what_and_what_nothing_asks_for_is_in_the_tree(
    capsys: Output, in_process: InProcess
) -> None:
    assert in_process("graph", "faults/unused.py") == 0
    told = capsys.readouterr().out
    assert "Warehouse  opened by run\n" in told
    assert "── orders_db  Resource  ← run\n" in told
    assert "── forgotten_ledger  Factory  unused\n" in told


def test_a_container_that_is_named_is_drawn_with_the_flows_of_other_targets(
    capsys: Output, in_process: InProcess
) -> None:
    assert in_process("graph", "faults.asynchronous:Feeds") == 0
    assert "feed  Resource  async\n" in capsys.readouterr().out
    assert in_process("graph", "faults.asynchronous:Feeds", "faults/asynchronous.py") == 0
    assert "feed  Resource  async  ← read\n" in capsys.readouterr().out


def test_providers_that_need_each_other_are_drawn_once(
    tmp_path: Path, capsys: Output, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "circle.py").write_text(
        "from dependency_injector import containers, providers\n"
        "class Circle(containers.DeclarativeContainer):\n"
        "    one = providers.Factory(dict)\n    two = providers.Factory(dict, one)\n    one.add_args(two)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert in_process("graph", "circle") == 0
    assert capsys.readouterr().out.count("(as above)") == 1


def test_mermaid_and_dot_have_each_provider_box_edge_and_user(
    large: Picture, capsys: Output, in_process: InProcess
) -> None:
    assert in_process("graph", "large.py", "-f", "mermaid") == 0
    mermaid = capsys.readouterr().out
    assert in_process("graph", "large.py", "-f", "dot") == 0
    dot = capsys.readouterr().out

    assert mermaid.startswith("---\ntitle: Big\n---\nflowchart LR\n")
    assert dot.startswith('digraph "Big" {\n')
    edges = [e for e in large.description.edges if e.source not in large.boxes and e.target not in large.boxes]
    asked = sum(len(user.asks) for user in large.users)
    assert len(re.findall(r"^ +n\d+ --> n\d+$", mermaid, re.MULTILINE)) == len(edges)
    assert len(re.findall(r"^ +u\d+ -\.-> n\d+$", mermaid, re.MULTILINE)) == asked
    assert len(re.findall(r"-> .+;$", dot, re.MULTILINE)) == len(edges) + asked
    assert mermaid.count("subgraph b") == dot.count('subgraph "cluster ') - 1 == len(large.boxes) == 2
    for node in large.nodes:
        assert f'"{node.path}" [' in dot
        assert f'"{large.name_in_box(node.path)}<br><i>{node.kind}' in mermaid


def test_sixty_providers_fit_a_screen_and_nothing_lies_on_anything(large: Picture) -> None:
    layout = layout_of(large)
    assert len(large.nodes) >= 60
    assert layout.width <= WIDEST
    inside = {path: place for path, place in layout.places.items() if path not in large.boxes}
    for (one, a), (other, b) in combinations(inside.items(), 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart, f"{one} and {other}"
    for path, place in inside.items():
        box = large.box_of(path)
        if box is not None:
            around = layout.places[box]
            assert around.x <= place.x
            assert place.x + place.width <= around.x + around.width
    assert {(line.source, line.target) for line in layout.lines} <= {
        (e.source, e.target) for e in large.description.edges
    }


@pytest.mark.parametrize("form", ["svg", "html"])
def test_a_picture_is_one_file_that_needs_nothing_else(
    form: str, tmp_path: Path, large: Picture, capsys: Output, in_process: InProcess
) -> None:
    file = tmp_path / "pictures" / f"large.{form}"
    assert in_process("graph", "large.py", "-o", str(file)) == 0
    assert capsys.readouterr().err == f"Wrote {file}\n"
    text = file.read_text("utf-8")
    assert not re.search(r"""(?:href|src|url)\s*[=(]\s*["']?(?!#)[\w/]""", text), "nothing is loaded"

    svg = ET.fromstring(text[text.index("<svg") : text.index("</svg>") + len("</svg>")])  # noqa: S314 - our own
    drawn = {group.attrib["data-node"]: group for group in svg.iter(f"{SVG}g") if "data-node" in group.attrib}
    assert set(drawn) == {node.path for node in large.nodes}
    for node in large.nodes:
        (rectangle,) = drawn[node.path].findall(f"{SVG}rect")
        assert rectangle.attrib["fill"] == COLOURS[node.lifetime][0]
        assert ("stroke-dasharray" in rectangle.attrib) == (node.path in large.unused)
        words = "".join(drawn[node.path].itertext())
        assert ("async" in words) == node.asynchronous
        assert ("← " in words) == bool(large.asked_by(node.path))
    assert "one per task run" in text


def test_a_name_that_markup_would_take_for_its_own_is_escaped(
    tmp_path: Path, capsys: Output, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "marked_up.py").write_text(
        "from dependency_injector import containers, providers\n"
        "MarkedUp = type('<b>&\"', (containers.DeclarativeContainer,), {'__module__': __name__, 'one': providers.Object(1)})\n"
    )
    monkeypatch.chdir(tmp_path)
    assert in_process("graph", "marked_up", "-f", "svg") == 0
    ET.fromstring(capsys.readouterr().out)  # noqa: S314 - our own


def test_without_the_extra_the_cure_names_it(
    capsys: Output, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "graphlay", None)
    assert in_process("graph", "plain:Plain", "-f", "svg") == 2
    assert 'pip install "prefect-lifespan[pictures]"' in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: Output, in_process: InProcess) -> None:
    (tmp_path / "file").touch()
    assert in_process("graph", "plain:Plain", "-o", str(tmp_path / "file" / "x.txt")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_tree_goes_to_a_file_without_colours(tmp_path: Path, in_process: InProcess) -> None:
    file = tmp_path / "tree.txt"
    assert in_process("graph", "plain:Plain", "-o", str(file)) == 0
    assert file.read_text("utf-8").startswith("Plain\n├── session  TaskResource\n")


def test_what_is_made_with_a_whole_sub_container_leads_to_its_box_in_every_picture(
    capsys: Output, in_process: InProcess
) -> None:
    told: dict[str, str] = {}
    for form in ("tree", "mermaid", "dot", "svg"):
        assert in_process("graph", "boxes.py:Boxes", "boxes.py", "-f", form) == 0
        told[form] = capsys.readouterr().out
    assert told["tree"].splitlines()[:6] == [
        "Boxes",
        "├── gateways.client  Factory",
        "├── alone.client  Factory",
        "└── dispatcher  Factory  ← send",
        "    ├── gateways  Container  ← send",
        "    └── empty  Container",
    ]
    ids = {label: name for name, label in re.findall(r'(\w+) ?\["(\w+)', told["mermaid"])}
    dispatcher, gateways, empty = (ids[name] for name in ("dispatcher", "gateways", "empty"))
    drawn = re.findall(r"^  (\w+) (-->|-\.->) (\w+)$", told["mermaid"], re.MULTILINE)
    assert drawn == [
        ("u0", "-.->", dispatcher), ("u0", "-.->", gateways), (dispatcher, "-->", gateways), (dispatcher, "-->", empty)
    ]  # fmt: skip
    assert '"dispatcher" -> "gateways.client" [lhead="cluster gateways"];' in told["dot"]
    assert '"task send" -> "gateways.client" [style=dashed, lhead="cluster gateways"];' in told["dot"]
    assert '-> "empty"' not in told["dot"]
    svg = ET.fromstring(told["svg"])  # noqa: S314 - our own
    lines = {(e.get("data-from"), e.get("data-to")) for e in svg.iter(f"{SVG}polyline")}
    assert lines == {("dispatcher", "gateways"), ("dispatcher", "empty")}
    assert "gateways\nasked for by task send" in {title.text for title in svg.iter(f"{SVG}title")}
