"""One question to a sibling: its address as it is written, words of any script in it, and which part of us asks."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from arbig.runtime.http import PART_HEADER, ask
from arbig.runtime.settings import PORTS, load_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("path", "params", "address"),
    [
        ("/orders?fresh=true", None, "/orders?fresh=true"),
        ("/trades", {"since": "2025-10-09T09:00:00", "limit": None}, "/trades?since=2025-10-09T09%3A00%3A00"),
        ("/orders/Ö1:a.b-c", None, "/orders/%C3%961:a.b-c"),
    ],
)
def test_a_question_arrives_as_it_was_asked(
    tmp_path: Path, path: str, params: dict[str, str | None] | None, address: str
) -> None:
    heard: list[tuple[str, str | None]] = []

    class Sibling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append((self.path, self.headers[PART_HEADER]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    with HTTPServer(("127.0.0.1", 0), Sibling) as server:
        settings = load_settings(root=ROOT, data=tmp_path, port_offset=server.server_port - PORTS["trading"])
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert {} == ask(settings, "trading", "GET", path, params=params)
        answering.join()
    assert [(address, "arbig")] == heard
