"""The plugin's fixtures, in tests of every kind: overridden, open and closed as the test ends, whatever happened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

# Each pair runs the same asynchronous tests: marked for one plugin, then for the other.
PLUGINS = pytest.mark.parametrize(
    "mark", ["pytest.mark.anyio", "pytest.mark.asyncio", "pytest.mark.asyncio(loop_scope='module')"]
)
ON_ASYNCIO = """
@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"
"""


def test_providers_are_overridden_until_the_test_ends_whatever_happened(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import threading
        import pytest
        from app import App, value
        from prefect_lifespan import override

        @pytest.fixture
        def fake(override_providers):
            override_providers(App, value="of a fixture")

        def test_passing(fake, override_providers):
            assert value() == "of a fixture"
            override_providers(App, {"value": "of the test"})
            assert value() == "of the test"
            with override(App, value="inside"):
                assert value() == "inside"
            seen = []
            thread = threading.Thread(target=lambda: seen.append(value()))
            thread.start()
            thread.join()
            assert seen == ["of the test"]

        def test_real_after_passing(): assert value() == "real"

        def test_failing(override_providers):
            override_providers(App, value="fake")
            raise ValueError(value())

        def test_real_after_failing(): assert value() == "real"

        @pytest.fixture
        def failing(override_providers):
            override_providers(App, value="fake")
            raise OSError(value())

        def test_in_error(failing): pass
        def test_real_after_an_error(): assert value() == "real"

        def test_wrong(override_providers):
            with pytest.raises(TypeError, match="did you mean 'value'"):
                override_providers(App, valeu="fake")
        """
    )
    run_pytest().assert_outcomes(passed=5, failed=1, errors=1)


@PLUGINS
def test_asynchronous_tests_see_what_fixtures_override_and_the_next_test_does_not(
    pytester: pytest.Pytester, run_pytest: Run, mark: str
):
    asynchronous = "pytest_asyncio.fixture" if "asyncio" in mark else "pytest.fixture"
    pytester.makepyfile(
        f"""
        import asyncio
        import pytest
        import pytest_asyncio
        from app import App, value
        from prefect_lifespan import lifespan

        {ON_ASYNCIO.replace(chr(10), chr(10) + "        ")}
        @{asynchronous}
        async def started():
            # Under anyio the loop, its task and the context of that outlive the test from here on.
            async with lifespan(App):
                yield value()

        @pytest.fixture
        def fake(override_providers):
            override_providers(App, value="of a fixture")

        @{asynchronous}
        async def fake_on_the_loop(override_providers):
            override_providers(App, value="of an asynchronous fixture")

        @{mark}
        async def test_a_fixture(started, fake):
            assert (started, value()) == ("real", "of a fixture")
            assert await asyncio.to_thread(value) == "of a fixture"

        @{mark}
        async def test_an_asynchronous_one(started, fake_on_the_loop):
            assert value() == "of an asynchronous fixture"

        @{mark}
        async def test_in_the_test(started, override_providers):
            override_providers(App, value="of the test")
            assert value() == "of the test"
            assert await asyncio.create_task(asyncio.to_thread(value)) == "of the test"

        @{mark}
        async def test_failing(override_providers):
            override_providers(App, value="fake")
            raise ValueError("failing")

        @{mark}
        async def test_real(started):
            assert value() == "real"

        def test_real_in_a_blocking_test():
            assert value() == "real"
        """
    )
    run_pytest().assert_outcomes(passed=5, failed=1)


def test_a_container_is_open_without_a_flow_and_closes_with_the_outcome_of_the_test(
    pytester: pytest.Pytester, run_pytest: Run
):
    pytester.makepyfile(
        """
        import pytest
        from app import App, LOG, value
        from prefect_lifespan import current_container

        @pytest.fixture
        def container(lifespan_container):
            return lifespan_container(App)

        def test_passing(container):
            assert LOG == ["open db"]
            assert container.db() == "db"
            assert current_container(App) is container

        def test_it_was_closed():
            assert LOG == ["open db", "close db"]
            LOG.clear()

        def test_failing(container): raise ValueError("failing")

        def test_it_was_told():
            assert LOG == ["open db", "ValueError db", "close db"]
            LOG.clear()

        @pytest.fixture
        def failing(container): raise OSError("failing")

        def test_in_error(failing): pass

        def test_it_was_told_as_well():
            assert LOG == ["open db", "OSError db", "close db"]
            LOG.clear()

        def test_arguments_and_overrides(lifespan_container, override_providers):
            override_providers(App, db="fake")
            own = lifespan_container(App, eager=False, share=False)
            other = lifespan_container(App, overrides={"value": "given"})
            assert (own.db(), other.db(), other.value()) == ("fake", "fake", "given")
            assert LOG == []

        def test_outside(): assert value() == "real"
        """
    )
    run_pytest().assert_outcomes(passed=6, failed=1, errors=1)


@pytest.mark.parametrize("mark", ["anyio", "asyncio(loop_scope='module')"])
def test_a_container_of_an_asynchronous_test_is_not_in_force_in_the_next_one_on_its_loop(
    pytester: pytest.Pytester, run_pytest: Run, mark: str
):
    pytester.makepyfile(
        f"""
        import pytest
        from app import App, value
        from prefect_lifespan import LifespanError, current_container, lifespan

        pytestmark = pytest.mark.{mark}

        @pytest.fixture(scope="module")
        def anyio_backend(): return "asyncio"

        if {mark!r} == "anyio":
            @pytest.fixture(scope="module", autouse=True)
            async def on_one_loop(): yield

        async def test_one(lifespan_container):
            assert lifespan_container(App, overrides={{"value": "given"}}).value() == "given"
            assert value() == "given"

        async def test_two():
            with pytest.raises(LifespanError, match="No lifespan of App is open here"):
                current_container(App)
            assert value() == "real"

        async def test_three():
            with lifespan(App) as container:
                assert container.db() == "db"
        """
    )
    run_pytest().assert_outcomes(passed=3)


def test_a_resource_that_does_not_close_fails_the_test_that_had_passed(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        from app import App
        from prefect_lifespan.testing import Faults

        def test_passing(lifespan_container):
            with Faults(App).fail("db", "close"):
                lifespan_container(App)
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*InjectedFault: an injected fault: db does not close*"])


def test_an_asynchronous_container_in_a_blocking_test_is_refused_in_words(pytester: pytest.Pytester, run_pytest: Run):
    pytester.makepyfile(
        """
        import pytest
        from app import App, Asynchronous
        from prefect_lifespan import AsyncResourceError

        def test_refused(lifespan_container):
            with pytest.raises(AsyncResourceError) as refused:
                lifespan_container(Asynchronous, eager=["api"])
            assert "await async_lifespan_container" in refused.value.__notes__[-1]

        def test_wrong_fixture(async_lifespan_container): pass
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*async_lifespan_container is for `async def` tests*"])


@PLUGINS
def test_asynchronous_tests_open_a_container_on_their_own_loop(pytester: pytest.Pytester, run_pytest: Run, mark: str):
    pytester.makepyfile(
        f"""
        import asyncio
        import pytest
        from app import App, Asynchronous, LOG
        from prefect_lifespan import current_container

        {ON_ASYNCIO.replace(chr(10), chr(10) + "        ")}
        @{mark}
        async def test_passing(async_lifespan_container):
            container = await async_lifespan_container(Asynchronous)
            assert container.api() == "api"
            assert LOG == ["open api"]
            assert current_container(Asynchronous) is container
            blocking = await async_lifespan_container(App, eager=[App.db])
            assert blocking.db() == "db"

        def test_it_was_closed():
            assert LOG == ["open api", "open db", "close db", "close api"]
            LOG.clear()

        @{mark}
        async def test_failing(async_lifespan_container):
            await async_lifespan_container(Asynchronous)
            raise ValueError("failing")

        def test_it_was_told():
            assert LOG == ["open api", "ValueError api", "close api"]
            LOG.clear()

        class TestMethods:
            @{mark}
            @pytest.mark.parametrize("number", [1, 2])
            async def test_method(self, number, async_lifespan_container, override_providers):
                override_providers(Asynchronous, api=number)
                assert (await async_lifespan_container(Asynchronous)).api() == number
        """
    )
    run_pytest().assert_outcomes(passed=5, failed=1)


@PLUGINS
def test_an_asynchronous_fixture_is_refused_and_told_how_it_opens_a_container(
    pytester: pytest.Pytester, run_pytest: Run, mark: str
):
    asynchronous = mark.replace("pytest.mark.asyncio", "pytest_asyncio.fixture").replace("mark.anyio", "fixture")
    pytester.makepyfile(
        f"""
        import pytest
        import pytest_asyncio
        from app import Asynchronous, LOG
        from prefect_lifespan import Provide, inject, lifespan

        {ON_ASYNCIO.replace(chr(10), chr(10) + "        ")}
        @inject
        async def ask(api=Provide[Asynchronous.api]): return api

        @{asynchronous}
        async def refused(async_lifespan_container):
            await async_lifespan_container(Asynchronous)

        @{asynchronous}
        async def opening_late(async_lifespan_container):
            yield
            await async_lifespan_container(Asynchronous)

        @{asynchronous}
        async def container():
            async with lifespan(Asynchronous) as container:
                yield container

        @pytest.fixture
        def failing(): raise OSError("a fixture that is set up later")

        @{mark}
        async def test_refused(refused, failing): pass

        @{mark}
        async def test_refused_after_the_test(opening_late): pass

        def test_nothing_was_opened(): assert LOG == []

        @{mark}
        async def test_container(container):
            assert await ask() == container.api() == "api"
            assert LOG == ["open api"]

        @{mark}
        async def test_container_and_a_later_fixture_that_fails(container, failing): pass

        def test_it_was_closed(): assert LOG == ["open api", "close api"] * 2
        """
    )
    result = run_pytest()
    result.assert_outcomes(passed=4, errors=3)
    told = [
        line for line in result.outlines if line.startswith("async_lifespan_container is to be awaited in the test")
    ]
    assert len(told) == 2
    assert "`async with lifespan(Container) as container: yield container`" in told[0]


def test_each_try_of_a_test_is_told_its_own_outcome_and_the_test_stays_itself(
    pytester: pytest.Pytester, run_pytest: Run
):
    pytester.makeconftest(
        """
        def pytest_sessionfinish(session):
            for item in session.items:
                assert not hasattr(item.obj, "__wrapped__"), f"{item.name} was left changed"
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from app import App, Asynchronous, LOG

        TRIES = []

        def test_second_try(lifespan_container):
            lifespan_container(App)
            TRIES.append(1)
            assert len(TRIES) == 2, "the first one"

        def test_it_was_told(): assert LOG == ["open db", "AssertionError db", "close db", "open db", "close db"]

        class TestMethods:
            @pytest.mark.asyncio
            async def test_second_try(self, async_lifespan_container):
                LOG.clear()
                await async_lifespan_container(Asynchronous)
                TRIES.append(1)
                assert len(TRIES) == 4, "the first one"

        def test_it_was_closed_once(): assert LOG == ["open api", "close api"]
        """
    )
    result = run_pytest("-p", "pytest_rerunfailures", "--reruns=1")
    assert result.parseoutcomes() == {"passed": 4, "rerun": 2}
    assert result.ret == 0


def test_every_process_of_xdist_has_overrides_and_a_leak_check_of_its_own(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import pytest
        from app import App, value
        from prefect_lifespan import lifespan

        @pytest.mark.parametrize("number", range(4))
        def test_overridden(number, override_providers, lifespan_container):
            override_providers(App, value=number)
            assert value() == lifespan_container(App).value() == number

        def test_leaking():
            lifespan(App).__enter__()
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(["  App.db, opened by `with lifespan(App)` in *.py:*"])


def test_the_fixtures_are_told_with_their_first_line(run_pytest: Run):
    result = run_pytest("--fixtures", "-v")
    for name in ("override_providers", "lifespan_container", "async_lifespan_container", "prefect_harness"):
        result.stdout.fnmatch_lines([f"{name}*"])
    result.stdout.fnmatch_lines(["*A function that overrides providers of a container until the test ends*"])
