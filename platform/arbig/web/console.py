"""The console's process: `python -m arbig.web.console` is `panel serve dashboards/console.py`, bound to this machine,
open to our own pages only, and behind Web's log-in."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path

from tornado.websocket import WebSocketClosedError

from arbig.runtime.child import die_with_parent
from arbig.runtime.settings import EXIT_CONFIG, Settings, SettingsError, load_settings
from arbig.web import console_door
from arbig.web.door import cookie_name

UNUSED_SESSION_MILLISECONDS = 10_000
NICENESS = 5
"""Whoever looks on does not hold up an order."""


def page_of(settings: Settings) -> Path:
    """The house's own dashboards/console.py, else the one that came with the code."""
    own = settings.root / "dashboards" / "console.py"
    return own if own.exists() else Path(__file__).parents[3] / "dashboards" / "console.py"


def arguments(settings: Settings) -> list[str]:
    """The words after `panel`."""
    port = settings.port("console")
    return [
        "serve",
        str(page_of(settings)),
        "--address=127.0.0.1",
        f"--port={port}",
        f"--allow-websocket-origin=127.0.0.1:{port}",
        f"--allow-websocket-origin=localhost:{port}",
        f"--auth-module={Path(console_door.__file__)}",
        f"--exclude-cookies={cookie_name(settings)}",
        "--exclude-headers=Cookie",
        f"--unused-session-lifetime={UNUSED_SESSION_MILLISECONDS}",
        f"--check-unused-sessions={UNUSED_SESSION_MILLISECONDS}",
        "--log-level=warning",
    ]


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """A tab that was closed while something was sent to it is no error."""
    return not (record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError))


def main() -> int:
    die_with_parent()
    os.nice(NICENESS)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    os.environ["BOKEH_COOKIE_SECRET"] = secrets.token_urlsafe(32)
    os.environ["BOKEH_RESOURCES"] = "server"
    logging.getLogger("asyncio").addFilter(is_worth_a_line)
    from panel.command import main as panel

    sys.argv = ["panel", *arguments(settings)]
    panel()
    return 0


if __name__ == "__main__":
    sys.exit(main())
