"""Market killed again and again while the real exchange plays: its bars are the exchange's own, and none is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from arbig.runtime import redis_server
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.store.bars import read

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0


class Stack:
    """Redis, the simulated exchange, the Gateway and Market, each a process."""

    def __init__(self, folder: Path) -> None:
        config = folder / "config"
        shutil.copytree(ROOT / "config", config)
        text = (config / "simulation.yaml").read_text("utf-8")
        lines = [line for line in text.splitlines() if not line.startswith(("speed:", "wait_for:"))]
        (config / "simulation.yaml").write_text("\n".join(["speed: 600", "wait_for: [market]", *lines]), "utf-8")
        self.settings: Settings = load_settings(root=ROOT, config=config, data=folder / "data", port_offset=2650)
        self._running = ExitStack()

    def start(self, module: str, crash: str = "") -> subprocess.Popen[bytes]:
        house = {"ROOT": ROOT, "CONFIG": self.settings.config, "DATA": self.settings.data, "PORT_OFFSET": 2650}
        environment = {**os.environ, **{f"ARBIG_{name}": str(value) for name, value in house.items()}}
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env={**environment, "ARBIG_CRASH": crash},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._running.callback(process.wait)
        self._running.callback(process.terminate)
        return process

    def stop(self) -> None:
        self._running.close()

    def get(self, service: str, path: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.settings.port(service)}{path}",
            headers={"Authorization": f"Bearer {self.settings.token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def is_ready(self, service: str) -> bool:
        try:
            return bool(self.get(service, "/ready")["ready"])
        except (OSError, urllib.error.URLError):
            return False

    def has_redis(self) -> bool:
        try:
            return bool(redis_server.ask(self.settings, ["PING"]) == "PONG")
        except (OSError, SettingsError):
            return False

    def stored(self) -> int:
        return sum(
            path.read_bytes().count(b"\n") for path in (self.settings.data / "bars").glob("au2512/2025-10-15.csv")
        )


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    yield made
    made.stop()


@pytest.mark.processes
def test_bars_equal_the_exchanges_through_crashes_and_kills_and_none_is_missing(stack: Stack) -> None:
    stack.start("arbig.runtime.redis_server")
    wait_for(stack.has_redis, "Redis")
    stack.start("arbig.exchange")
    stack.start("arbig.gateway")
    assert stack.start("arbig.market", "market.after_journal:60").wait(PATIENCE) == 137
    market = stack.start("arbig.market")
    had = stack.stored()
    wait_for(lambda: stack.stored() > had + 10, "ten more bars")
    market.send_signal(signal.SIGKILL)
    market.wait()
    stack.start("arbig.market")
    had = stack.stored()
    wait_for(lambda: stack.stored() > had + 20, "twenty more bars")

    bars = read(stack.settings.data / "bars" / "au2512" / "2025-10-15.csv")
    assert [bar.seq for bar in bars] == list(range(1, len(bars) + 1))
    assert all(earlier.datetime < later.datetime for earlier, later in pairwise(bars))
    end = bars[-1].datetime.replace(tzinfo=None).isoformat()
    truth = stack.get("gateway", f"/history?symbol=au2512&start=2025-10-14T20:55:00&end={end}")["bars"]
    answer = stack.get("market", "/bars/au2512?since=2025-10-14T20:55:00&limit=1000")
    assert [{**bar, "account_id": None} for bar in answer["bars"][: len(bars)]] == [
        {**bar, "account_id": None} for bar in truth
    ]
    assert answer["gaps"] == []
