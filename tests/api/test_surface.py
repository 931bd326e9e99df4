"""The public surface: what is exported is documented, what is public is exported, and no module is seen by accident."""

import inspect
from pathlib import Path

import pytest

import prefect_lifespan

EXPORTED = prefect_lifespan.__all__


def test_all_names_what_is_public_and_nothing_else():
    public = [
        name
        for name in dir(prefect_lifespan)
        if not name.startswith("_") and not inspect.ismodule(getattr(prefect_lifespan, name))
    ]
    assert sorted(public) == EXPORTED == sorted(set(EXPORTED))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'prefect_lifespan' has no attribute 'lifespann'"):
        getattr(prefect_lifespan, "lifespann")  # noqa: B009
    with pytest.raises(ImportError, match="cannot import name 'lifespann'"):
        exec("from prefect_lifespan import lifespann")  # noqa: S102


def test_what_goes_wrong_when_a_name_is_loaded_is_told_and_not_that_there_is_no_such_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A module of the user's that is called as one of Python's, `resource.py`, had this come of it."""
    (tmp_path / "late_package").mkdir()
    names = (
        "from prefect_lifespan.late_names import late_names\n__getattr__ = late_names(__name__, {'part': ['thing']})"
    )
    (tmp_path / "late_package" / "__init__.py").write_text(names)
    (tmp_path / "late_package" / "part.py").write_text("import math\nthing = math.getpagesize")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ImportError, match=r"late_package\.part cannot be imported: module 'math' has no attribute"):
        exec("from late_package import thing")  # noqa: S102


def test_the_surface_is_the_one_that_the_design_promises():
    promised = {
        *("lifespan", "inject", "Provide", "Provider", "Closing", "TaskResource", "ProcessResource", "resource"),
        *(
            "override",
            "current_container",
            "check",
            "describe",
            "probe",
            "aprobe",
            "wire",
            "carried",
            "provided",
            "injected",
            "observe",
            "Event",
        ),
        *("UsageError", "LifespanError", "InvalidContainerError", "LifespanClosedError", "AsyncResourceError"),
        *("ResourceTimeoutError", "ResourceCloseError"),
    }
    assert promised <= set(EXPORTED)


def test_every_error_is_a_lifespan_error_and_can_be_caught_as_what_it_is():
    errors = [value for name in EXPORTED if name.endswith("Error") and (value := getattr(prefect_lifespan, name))]
    assert all(issubclass(error, prefect_lifespan.LifespanError) for error in errors)
    assert issubclass(prefect_lifespan.ResourceTimeoutError, TimeoutError)
    assert issubclass(prefect_lifespan.ResourceCloseError, ExceptionGroup)


def test_the_markers_are_dependency_injectors_own():
    from dependency_injector import wiring

    assert prefect_lifespan.Provide is wiring.Provide
    assert prefect_lifespan.Provider is wiring.Provider
    assert prefect_lifespan.Closing is wiring.Closing


def test_every_public_name_is_documented():
    for name in EXPORTED:
        value = getattr(prefect_lifespan, name)
        if getattr(value, "__module__", "").startswith("prefect_lifespan"):
            assert inspect.getdoc(value), name
