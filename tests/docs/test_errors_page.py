"""docs/errors.md has an entry for each error class and each code, and what is raised names its own."""

import importlib
import pickle
import pkgutil
import re
from pathlib import Path

import pytest
from dependency_injector import containers, providers

import prefect_lifespan
from prefect_lifespan import LifespanError, UsageError, check, lifespan
from prefect_lifespan.graph import SEVERITIES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
PARTS = ["What happened", "Why it is bad", "What to do"]


def classes(base: type[LifespanError] = LifespanError) -> set[type[LifespanError]]:
    return {base, *(each for derived in base.__subclasses__() for each in classes(derived))}


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    found = re.split(r"^### (\S+)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(set(found[::2])) == len(found[::2])
    return dict(zip(found[::2], found[1::2], strict=True))


def test_there_is_one_entry_for_each_class_and_each_code(entries: dict[str, str]) -> None:
    for module in pkgutil.walk_packages(prefect_lifespan.__path__, "prefect_lifespan."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {each.__name__ for each in classes() if each.__module__.startswith("prefect_lifespan")}
    assert len(ours) > 8
    assert set(entries) == ours | set(SEVERITIES)


def test_each_entry_says_what_happened_why_it_is_bad_and_what_to_do(entries: dict[str, str]) -> None:
    severities: dict[str, str] = {str(code): severity for code, severity in SEVERITIES.items()}
    for name, text in entries.items():
        assert re.findall(r"^\*\*(.+)\.\*\* \S", text, re.MULTILINE) == PARTS, name
        severity = severities.get(name)
        if severity is not None:
            assert (severity == "warning") == ("A warning" in " ".join(text.split())), name


def test_an_error_names_its_entry_also_behind_a_pickle() -> None:
    for error in (UsageError("wrong"), pickle.loads(pickle.dumps(UsageError("wrong")))):  # noqa: S301 - our own bytes
        assert str(error) == "wrong (docs/errors.md#usageerror)"


def test_a_finding_names_the_entry_of_its_code_and_the_error_of_all_findings_names_no_other() -> None:
    class App(containers.DeclarativeContainer):
        url: providers.Dependency = providers.Dependency()
        db = providers.Resource(open, url)

    (finding,) = check(App)
    assert finding.told.endswith("(docs/errors.md#undefined-dependency)")
    with pytest.raises(LifespanError) as raised, lifespan(App):
        pass
    assert re.findall(r"docs/\S+", str(raised.value)) == ["docs/errors.md#undefined-dependency"]


def test_the_address_is_that_of_a_file_in_the_repository() -> None:
    from prefect_lifespan.errors import PAGE as NAMED

    assert (ROOT / NAMED).samefile(PAGE)
