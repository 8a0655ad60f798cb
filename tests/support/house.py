"""A house of its own for a test: own config, strategies, data, ports; real processes, started and ended by `arbig`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[2]
ARBIG = Path(sys.executable).with_name("arbig")
FIRST_NIGHT = "2025-10-14T21:00:30"
"""Of `first_day` in config/simulation.yaml."""


class House:
    """`arbig` on a folder with its own config and strategies; `edit` before `up`."""

    def __init__(self, home: Path, port_offset: int) -> None:
        self.home = home
        self.port_offset = port_offset
        self.data = home / "data"
        self.config = home / "config"
        shutil.copytree(ROOT / "config", self.config)
        (self.config / "schedule.yaml").write_text("schedule: {}\n")  # who wants notebooks run says so
        shutil.copytree(ROOT / "strategies", home / "strategies", ignore=shutil.ignore_patterns("__pycache__"))
        (home / "dashboards").symlink_to(ROOT / "dashboards")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ARBIG_")},
            "ARBIG_ROOT": str(home),
            "ARBIG_DATA": str(self.data),
        }

    def edit(self, name: str, **changes: Any) -> None:
        """Change keys of a YAML file under config/."""
        path = self.config / name
        found = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**found, **changes}, allow_unicode=True), "utf-8")

    def arbig(self, *words: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [ARBIG, *words], env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=seconds
        )
        if check and done.returncode:
            raise AssertionError(f"arbig {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    @contextmanager
    def running(self) -> Iterator[House]:
        self.arbig("up", "--detach", "--port-offset", str(self.port_offset))
        try:
            yield self
        finally:
            self.arbig("down", check=False)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.arbig("status", "--json", check=False).stdout)
        return found

    def pid(self, service: str) -> int:
        """0 while it is not there."""
        return next(int(row["pid"] or 0) for row in self.status()["services"] if row["name"] == service)

    def kill(self, service: str) -> None:
        pid = until(lambda: self.pid(service), 30, f"a running {service}")
        os.kill(pid, signal.SIGKILL)

    def ask(self, service: str, method: str, path: str, body: Any = None) -> Any:
        ports = {"gateway": 8000, "trading": 8001, "strategy": 8002, "market": 8003, "scheduler": 8004, "web": 8080}
        token = (self.data / "run" / "token").read_text().strip()
        answer = httpx.request(
            method,
            f"http://127.0.0.1:{ports[service] + self.port_offset}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=5,
            trust_env=False,
        )
        return answer.json()

    def trades(self) -> None:
        """Waits until the first night's auction is over: before it no order works."""
        until(lambda: self.ask("gateway", "GET", "/clock")["session_time"] > FIRST_NIGHT, 120, "the night is open")

    def redis(self, *command: str) -> Any:
        return json.loads(self.arbig("redis", "--json", *command).stdout)

    def database(self, name: str) -> sqlite3.Connection:
        """Read only: `exchange/exchange.db`, `db/gateway.db`, `db/trading.db`."""
        return sqlite3.connect(f"file:{self.data / name}?mode=ro", uri=True)


def until(question: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer; what was awaited is named when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := question():
                return found
        except (httpx.HTTPError, AssertionError, KeyError, ValueError, OSError, sqlite3.Error) as error:
            found = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last answer: {found!r}")
        time.sleep(0.25)
