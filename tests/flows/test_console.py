from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.__main__ import without_traceback
from flows.progress import console_handlers, log_console


@pytest.fixture(params=["prefect", ""], ids=["its own logger", "the root logger"])
def handler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectConsoleHandler]:
    """Prefect's console handler where releases of Prefect put it: 3.8.8 on the root logger."""
    for name in ("prefect", ""):
        logger = logging.getLogger(name)
        others = [each for each in logger.handlers if not isinstance(each, PrefectConsoleHandler)]
        monkeypatch.setattr(logger, "handlers", others)
    monkeypatch.setattr(logging.getLogger("prefect"), "propagate", True)
    handler = PrefectConsoleHandler()
    logging.getLogger(request.param).addHandler(handler)
    yield handler
    handler.close()


def test_progress_is_shown_on_the_console_that_prefect_logs_to(handler: PrefectConsoleHandler) -> None:
    assert list(console_handlers()) == [handler]
    assert log_console() is handler.console


def test_a_failure_on_purpose_is_one_line_on_the_console(
    handler: PrefectConsoleHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in console_handlers():
        each.addFilter(without_traceback)
    try:
        raise LookupError("there is no such account")
    except LookupError:
        logging.getLogger("prefect.lifecycle").exception("Encountered an exception")

    shown = capsys.readouterr()
    assert "Traceback" not in shown.out + shown.err
