"""A test that leaves a resource open fails, by the name of what it left; one that does not is left alone."""

from __future__ import annotations

import re
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
        from prefect_lifespan.scope import current_scope

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
                current_scope().lifespans[-1].engine.schedule.opened.clear()

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

        def test_clean(clean): pass
        def test_leaking(leaking): pass
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*teardown of test_leaking*", "resources were left open:", "  App.db, opened by*"])


def test_where_a_fixture_fails_to_end_what_is_left_open_is_told_with_that(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from app import App
        from prefect_lifespan import lifespan

        @pytest.fixture
        def failing():
            yield
            raise OSError("of the fixture")

        def test_both(failing): lifespan(App).__enter__()
        def test_next(): pass
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*OSError: of the fixture", "*resources were left open:", "*App.db, opened by*"])


def test_an_opening_that_is_told_after_its_closing_is_no_leak(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from prefect_lifespan.engine import Event, lifespan_numbers, observers

        @pytest.mark.parametrize("kinds", [("closed", "opened"), ("close-failed", "opened"), ("opened", "closed")])
        def test_as_two_threads_may_tell_it(kinds):
            opening, number = object(), next(lifespan_numbers)
            for kind in kinds:
                observers.tell(Event(kind, "App", "db", 0.0, number=number, opening=opening))

        def test_otherwise_it_is_one():
            observers.tell(Event("opened", "App", "db", 0.0, number=next(lifespan_numbers), opening=object()))
        """
    )
    run_pytest().assert_outcomes(passed=4, errors=1)


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


def test_what_the_last_test_may_leave_open_says_nothing_of_a_fixture_that_ends_with_it(
    pytester: pytest.Pytester, run_pytest: Run
):
    pytester.makepyfile(
        """
        import pytest
        from app import App, Shared, model
        from prefect_lifespan import lifespan

        def leaking():
            lifespan(App, share=False).__enter__()
            model()
            yield

        of_the_class = pytest.fixture(scope="class")(leaking)
        of_the_module = pytest.fixture(scope="module")(leaking)

        @pytest.fixture(scope="class")
        def marking(request):
            request.node.add_marker(pytest.mark.lifespan_leak_check(False))

        @pytest.mark.lifespan_leak_check(process_resources=True)
        class TestOfTheProcess:
            def test_told_as_well(self, of_the_class): pass

        class TestThem:
            def test_one(self, of_the_class): pass
            @pytest.mark.lifespan_leak_check(False)
            def test_told(self): pass

        @pytest.mark.lifespan_leak_check(False)
        class TestMarked:
            def test_not_told(self, of_the_class): pass

        class TestMarkedByTheFixture:
            def test_not_told(self, of_the_class, marking): pass

        @pytest.mark.lifespan_leak_check(False)
        def test_last(of_the_module): lifespan(App, share=False).__enter__()
        """
    )
    result = run_pytest()
    assert result.parseoutcomes() == {"passed": 6, "errors": 3}
    told = [line.strip() for line in result.outlines if ", opened by " in line]
    # What lives as long as the process is opened in a thread of its own, where no line of the tests can be told.
    assert [re.split(" in |, by ", line)[0] for line in told] == [
        "App.db, opened by `with lifespan(App)`",
        "Shared.model, opened by the process",
        "App.db, opened by `with lifespan(App)`",
        "App.db, opened by `with lifespan(App)`",
    ]
    assert [line.rpartition(" ")[2] for line in told] == ["of_the_class"] * 3 + ["of_the_module"]
    result.stdout.fnmatch_lines(["Close them, or mark the class or module of the fixture: @pytest.mark.lifespan_le*"])


def test_what_a_factory_of_a_wider_fixture_opens_for_a_test_is_the_tests(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        from contextlib import ExitStack
        import pytest
        from app import App
        from prefect_lifespan import lifespan

        @pytest.fixture(scope="module")
        def opening():
            with ExitStack() as stack:
                yield lambda: stack.enter_context(lifespan(App, share=False))

        def test_told(opening): opening()

        @pytest.mark.lifespan_leak_check(False)
        def test_marked(opening): opening()
        """
    )
    run_pytest().assert_outcomes(passed=2, errors=1)


def test_what_is_declared_for_the_process_and_is_a_runs_alone_is_a_leak(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from dependency_injector import containers
        from app import Shared, opened, opened_on_a_loop
        from prefect_lifespan import ProcessResource, Provide, inject, lifespan
        from prefect_lifespan.scope import current_scope

        KEPT = []

        class OnALoop(containers.DeclarativeContainer):
            model = ProcessResource(opened_on_a_loop, "model")

        @inject
        async def use(model=Provide[OnALoop.model]): return model

        def test_overriding():
            lifespan(Shared, overrides={"model": ProcessResource(opened, "fake")}).__enter__().model()

        @pytest.mark.asyncio
        async def test_on_a_loop():
            KEPT.append(lifespan(OnALoop))
            await KEPT[-1].__aenter__()
            assert await use() == "model"
            current_scope().lifespans[-1].engine.schedule.opened.clear()  # its loop ends

        @pytest.mark.asyncio
        async def test_on_a_loop_and_closed():
            async with lifespan(OnALoop):
                assert await use() == "model"
            assert await use() == "model"
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(["  Shared.model, opened by `with lifespan(Shared)`*"])
    result.stdout.fnmatch_lines(["  OnALoop.model, opened by `async with lifespan(OnALoop)`*"])


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


def test_a_test_that_imports_nothing_of_us_never_imports_prefect(library: None, pytester: pytest.Pytester):
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
