"""Receivers on this machine: a webhook over HTTP, a mail server that keeps what it is given."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from arbig.runtime.redis_server import ask
from arbig.runtime.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]


class Webhook:
    """`.heard`: the messages, as JSON. While `.broken` it answers 503; `.gate` holds an answer back."""

    def __init__(self, port: int = 0) -> None:
        self.heard: list[dict[str, Any]] = []
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not webhook.broken:
                    webhook.heard.append(json.loads(body))
                webhook.gate.wait(10)
                self.send_response(503 if webhook.broken else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # who asked was killed
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def lines(self) -> list[str]:
        return [line for message in self.heard for line in message["message"].splitlines()]

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


class MailServer:
    """Just enough SMTP. `.mails`: what came after DATA."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        mails = self.mails

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 double\r\n")
                while line := self.rfile.readline():
                    word = line.split()[0].upper() if line.split() else b""
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        text = b""
                        while (row := self.rfile.readline()) not in (b".\r\n", b""):
                            text += row
                        mails.append(text.decode())
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                    if word == b"QUIT":
                        return

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    found = Webhook()
    yield found
    found.close()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    found = MailServer()
    yield found
    found.close()


@pytest.fixture
def house(tmp_path: Path) -> Callable[[str], Settings]:
    """A house with these alerts."""

    def made(alerts: str) -> Settings:
        config = tmp_path / "config"
        config.mkdir(exist_ok=True)
        for path in (ROOT / "config").glob("*.yaml"):
            (config / path.name).write_text(path.read_text())
        (config / "alerts.yaml").write_text(alerts)
        return load_settings(root=tmp_path, config=config, data=tmp_path / "data", port_offset=5810)

    return made


@pytest.fixture
def until() -> Callable[..., None]:
    def wait(holds: Callable[[], object], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came to be"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A house of which only Redis runs."""
    root = tmp_path_factory.mktemp("house")
    (root / "config").mkdir()
    for path in (ROOT / "config").glob("*.yaml"):
        (root / "config" / path.name).write_text(path.read_text())
    settings = load_settings(root=root, config=root / "config", data=root / "data", port_offset=5820)
    words = {"ARBIG_ROOT": root, "ARBIG_CONFIG": root / "config", "ARBIG_DATA": root / "data"}
    environment = {**os.environ, **{name: str(word) for name, word in words.items()}, "ARBIG_PORT_OFFSET": "5820"}
    process = subprocess.Popen([sys.executable, "-m", "arbig.runtime.redis_server"], env=environment)
    end = time.monotonic() + 20
    while not _answers(settings):
        assert process.poll() is None and time.monotonic() < end, "Redis did not start"
        time.sleep(0.02)
    yield settings
    process.terminate()
    process.wait()


def _answers(settings: Settings) -> bool:
    try:
        return bool(ask(settings, ["PING"]) == "PONG")
    except (ConnectionError, SettingsError):
        return False
