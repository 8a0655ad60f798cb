"""A small house: the specification's Redis file, the embedded Redis as a real process, services written in the test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from arbig.runtime.http import CallError, ask
from arbig.runtime.ready import is_open
from arbig.runtime.settings import Settings, load_settings


@dataclass
class Home:
    """Starts `python -m arbig.runtime.redis_server` and services given as source; ends them all."""

    settings: Settings
    processes: ExitStack = field(default_factory=ExitStack)

    def redis(self) -> subprocess.Popen[str]:
        process = self._start("-m", "arbig.runtime.redis_server")
        until(lambda: (self.settings.run / "redis.json").exists() and is_open(self.settings.port("redis")))
        return process

    def service(self, source: str, **environment: str) -> subprocess.Popen[str]:
        return self._start("-c", "from arbig.runtime.service import *\n" + source, **environment)

    def status(self, service: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = ask(self.settings, service, "GET", "/status")
        except CallError:
            return {}
        return found

    def _start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        own = {
            "ARBIG_ROOT": str(self.settings.root),
            "ARBIG_DATA": str(self.settings.data),
            "ARBIG_PORT_OFFSET": str(self.settings.port_offset),
        }
        process = subprocess.Popen(
            [sys.executable, *words], env={**os.environ, **own, **environment}, stderr=subprocess.PIPE, text=True
        )
        self.processes.enter_context(_ended(process))
        return process


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "redis_config.yaml").write_text("host: localhost\nport: 6379\n")
    home = Home(load_settings(root=tmp_path, data=tmp_path / "data", port_offset=7000))
    with home.processes:
        yield home


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., None]:
    return until
