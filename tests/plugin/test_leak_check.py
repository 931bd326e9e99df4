"""A test that leaves a resource open fails, by the name of what it left; one that does not is left alone."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_a_test_that_leaves_a_resource_open_fails_and_names_it(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        from app import App
        from prefect_lifespan import lifespan

        def test_leaking():
            lifespan(App).__enter__()

        def test_clean():
            with lifespan(App):
                pass
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_leaking*",
            "resources were left open:",
            "  App.db, opened by `with lifespan(App)` in test_a_test_that_leaves*.py:5",
            "Close them, or mark the test: @pytest.mark.lifespan_leak_check(False)",
        ]
    )


def test_what_threads_and_event_loops_leave_open_is_found_as_well(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import asyncio
        import threading
        from app import App, Asynchronous
        from prefect_lifespan import lifespan

        KEPT = []

        def test_thread():
            thread = threading.Thread(target=lifespan(App).__enter__)
            thread.start()
            thread.join()

        def test_loop():
            async def main():
                entered = lifespan(Asynchronous)
                KEPT.append(entered)
                await entered.__aenter__()
                entered._entered[0][0].engine.ledger.opened.clear()

            asyncio.run(main())
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["  App.db, opened by `with lifespan(App)`*"])
    result.stdout.fnmatch_lines(["  Asynchronous.api, opened by `async with lifespan(Asynchronous)`*"])


def test_what_a_fixture_of_the_test_closes_is_no_leak_and_what_it_leaves_is_one(
    pytester: pytest.Pytester, run_pytest: Run
):
    pytester.makepyfile(
        """
        import pytest
        from app import App
        from prefect_lifespan import lifespan

        @pytest.fixture
        def clean():
            with lifespan(App) as container:
                yield container

        @pytest.fixture
        def leaking():
            return lifespan(App).__enter__()

        @pytest.fixture
        def failing():
            yield
            raise OSError("of the fixture")

        def test_clean(clean): pass
        def test_leaking(leaking): pass
        def test_both(failing, leaking): pass
        """
    )
    result = run_pytest("-vv")
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["*OSError: of the fixture", "*resources were left open:", "*App.db, opened by*"])


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_a_fixture_that_outlives_the_test_may_keep_its_resources_until_it_ends(
    pytester: pytest.Pytester, run_pytest: Run, scope: str
):
    pytester.makepyfile(
        f"""
        import pytest
        from app import App, LOG
        from prefect_lifespan import lifespan

        @pytest.fixture(scope="{scope}")
        def eager():
            with lifespan(App) as container:
                yield container

        @pytest.fixture(scope="{scope}")
        def outer(eager):
            with lifespan(App, share=False, eager=False) as container:
                yield container

        class TestThem:
            def test_one(self, outer): pass
            def test_opened_late(self, outer): assert outer.db() == "db"
            def test_three(self, outer): assert LOG == ["open db"] * 2
        """
    )
    run_pytest().assert_outcomes(passed=3)


def test_a_fixture_that_outlives_the_test_and_leaks_is_told_where_it_ends(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from app import App
        from prefect_lifespan import lifespan

        @pytest.fixture(scope="module")
        def leaking():
            lifespan(App).__enter__()
            yield

        @pytest.fixture(scope="module", params=[1, 2])
        def clean(request):
            with lifespan(App, share=False):
                yield

        def test_one(leaking, clean): pass
        def test_two(leaking, clean): pass
        def test_three(): pass
        """
    )
    result = run_pytest("-v")
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(["*App.db, opened by*"])


def test_resources_of_the_process_are_leaks_only_where_that_is_asked_for(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from app import Shared, model
        from prefect_lifespan import lifespan

        @pytest.mark.lifespan_leak_check(process_resources=True)
        def test_asked_for():
            model()

        def test_not_asked_for():
            with lifespan(Shared): pass  # the outermost block ends what lives as long as the process
            model()

        @pytest.mark.lifespan_leak_check(process_resources=True)
        def test_of_another_test():
            model()
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*teardown of test_asked_for*", "*Shared.model, opened by the process*"])


def test_the_check_is_off_by_ini_or_marker_and_on_by_marker(pytester: pytest.Pytester, run_pytest: Run):
    leaking = """
        import pytest
        from app import App
        from prefect_lifespan import lifespan

        @pytest.mark.lifespan_leak_check({marked})
        def test_marked(): lifespan(App, share=False).__enter__()

        def test_other(): lifespan(App, share=False).__enter__()
        """
    pytester.makepyfile(leaking.format(marked="False"))
    run_pytest().assert_outcomes(passed=2, errors=1)
    pytester.makepyfile(leaking.format(marked="True"))
    off = run_pytest("-o", "lifespan_leak_check=false")
    off.assert_outcomes(passed=2, errors=1)
    off.stdout.fnmatch_lines(["*teardown of test_marked*"])


def test_a_test_that_imports_nothing_of_us_never_imports_prefect(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import sys

        def test_unrelated(tmp_path):
            loaded = [name for name in sys.modules if name.partition(".")[0] in ("prefect", "prefect_lifespan")]
            assert loaded == []
            assert "_prefect_lifespan_pytest" in sys.modules
        """
    )
    result = pytester.runpytest_subprocess("--strict-markers", "-W", "error")
    result.assert_outcomes(passed=1)
    assert "prefect_lifespan" in sys.modules, "it is another process that has been asked"
