"""The console's process: what it says in the log."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tornado.websocket import WebSocketClosedError

from arbig.web.console import is_worth_a_line


@pytest.mark.parametrize(("error", "lines"), [(WebSocketClosedError(), 0), (ValueError("no such contract"), 1)])
def test_a_tab_closed_in_the_middle_of_a_message_is_no_error(
    error: Exception, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("asyncio")
    logger.addFilter(is_worth_a_line)
    loop = asyncio.new_event_loop()
    try:
        loop.call_exception_handler({"message": "Task exception was never retrieved", "exception": error})
    finally:
        loop.close()
        logger.removeFilter(is_worth_a_line)
    assert len(caplog.records) == lines
