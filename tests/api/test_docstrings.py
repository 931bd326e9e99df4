"""Every example in a docstring of the library runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import prefect_lifespan

FINDER = doctest.DocTestFinder(exclude_empty=True)
MODULES = ["prefect_lifespan", *(m.name for m in pkgutil.walk_packages(prefect_lifespan.__path__, "prefect_lifespan."))]
WITH_AN_EXAMPLE = ("lifespan", "inject", "override", "current_container", "check", "resource", "TaskResource")


def examples() -> list[doctest.DocTest]:
    """The docstrings that hold examples, each once."""
    found = {
        test.name: test
        for name in MODULES
        if not name.endswith("__main__")
        for test in FINDER.find(importlib.import_module(name))
        if test.examples
    }
    return list(found.values())


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_the_example_runs(example: doctest.DocTest):
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    result = runner.run(example, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", WITH_AN_EXAMPLE)
def test_the_public_name_has_an_example(name: str):
    documented = getattr(prefect_lifespan, name)
    assert any(test.examples for test in FINDER.find(documented, name))
