"""What targets can be, and what is said of those that cannot: one line with file and line, a cure, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command.conftest import InProcess, Run


def error(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_module_that_cannot_be_imported_is_one_line_with_file_and_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import json\n\nimport not_there_at_all\n")
    done = run("check", "broken.py", cwd=tmp_path)
    assert done.code == 2
    assert done.out == ""
    assert done.err == (
        "error: broken.py:3: broken.py cannot be imported: ModuleNotFoundError: No module named 'not_there_at_all'\n"
        "  Cure: install it, or run the command in the project's root and its environment\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = (", "broken_2.py:2: broken_2.py cannot be imported: SyntaxError: '(' was never closed"),
        ("def f():\n    raise OSError('password=hunter22')\nf()", "broken_2.py:2: broken_2.py cannot be imported: OSError: password=***"),
        ("import sys\nsys.exit(3)", "broken_2.py:2: importing broken_2.py ends the program (exit code 3)"),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_at_import_is_told_with_its_place(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_2.py").write_text(text)
    assert in_process("graph", "broken_2.py:App") == 2
    told = error(capsys)
    assert told.startswith(f"error: {message}")
    assert "\n  Cure: " in told


@pytest.mark.parametrize(
    ("target", "message", "cure"),
    [
        (
            "no_such_module:App",
            "there is no module 'no_such_module', and no such file or folder",
            "run the command in the project's root",
        ),
        ("no/such.py:App", "there is no no/such.py", "give a module, a file that ends with .py, or a folder"),
        ("plain.py:Plian", "plain has no 'Plian'", "did you mean 'Plain'?"),
        ("plain:Plain.nothing.at", "Plain has no 'nothing'", "name what the module declares"),
        ("plain:open_db.__name__", "plain:open_db.__name__ is a str", "name a container, a flow or a task"),
        ("plain", "plain: 2 containers", "name one of them: plain:Plain, plain:Other"),
        (":Plain", "':Plain' names nothing", "write module:Container"),
        ("plain:instance", "plain:instance is a DynamicContainer", "that is an instance; name its class: plain:Plain"),
        ("plain.Plain", "there is no module 'plain.Plain'", "write plain:Plain"),
        ("faults.well.Well", "there is no module 'faults.well.Well'", "write faults.well:Well"),
        ("conftest.txt", "there is no module 'conftest.txt'", "run the command in the project's root"),
    ],
)
def test_a_target_that_names_nothing_says_so(
    target: str, message: str, cure: str, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("graph", target) == 2
    told = error(capsys)
    assert told.startswith(f"error: {message}"), told
    assert f"\n  Cure: {cure}" in told


@pytest.mark.parametrize("target", ["plain:Plain", "plain.py:Plain", "./plain.py:Plain"])
def test_a_container_may_be_named_in_each_way(
    target: str, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("graph", target) == 0
    assert capsys.readouterr().out.startswith("Plain\n")


def test_a_folder_is_searched_but_for_tests_and_environments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    declares = "from dependency_injector import containers\nclass {0}(containers.DeclarativeContainer): ...\n"
    for name in ("searched/one.py", "searched/deeper/two.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(declares.format(Path(name).stem.title()))
    for name in (
        "searched/tests/three.py", "searched/test_four.py", "searched/five_test.py", "searched/conftest.py",
        "searched/.hidden/six.py", "searched/venv/pyvenv.cfg", "searched/venv/seven.py", "searched/__main__.py",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise AssertionError('not to be imported')")
    monkeypatch.chdir(tmp_path)
    assert in_process("check", "searched") == 0
    assert capsys.readouterr().out == "Nothing found in 2 containers\n"


def test_a_file_in_a_source_folder_has_the_name_that_other_modules_import_it_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "src" / "sourced"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "app.py").write_text(
        "from dependency_injector import containers, providers\n"
        "class App(containers.DeclarativeContainer):\n    url: object = providers.Dependency()\n"
    )
    monkeypatch.chdir(tmp_path)
    assert in_process("check", "src/sourced/app.py", "-f", "json") == 1
    assert '"target": "sourced.app:App"' in capsys.readouterr().out


def test_a_file_whose_name_is_no_module_can_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run-it.py").write_text(
        "from dependency_injector import containers\nclass RunIt(containers.DeclarativeContainer): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    assert in_process("check", "run-it.py") == 0
    assert capsys.readouterr().out == "Nothing found in 1 container\n"


def test_a_folder_with_nothing_to_look_at_is_a_wrong_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess
) -> None:
    assert in_process("check", str(tmp_path)) == 2
    assert "no container, flow or task" in error(capsys)


def test_what_a_module_prints_when_it_is_imported_is_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "printing.py").write_text(
        "from dependency_injector import containers\nprint('hello')\nclass App(containers.DeclarativeContainer): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    assert in_process("check", "printing", "-f", "json") == 0
    out, err = capsys.readouterr()
    assert out == '{\n  "findings": []\n}\n'
    assert err == "hello\n"
