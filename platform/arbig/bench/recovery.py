"""Recovery: how long the house needs after one of its processes was killed, on the running stack, on the simulated
exchange. Two figures a kill: the process is there again (its /health answers), and everybody knows where they stand and
orders are taken (ACTIVE).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from arbig.bench.house import BenchFailed, free_offset
from arbig.bench.report import quantile
from arbig.bus.port import BusError, entry_key
from arbig.bus.topics import EVENT
from arbig.domain.messages import EventData, EventType, decode
from arbig.runtime.clock import WallClock
from arbig.runtime.control import Control
from arbig.runtime.http import CallError, ask
from arbig.runtime.programs import BY_NAME, Program
from arbig.runtime.ready import is_ready
from arbig.runtime.redis_server import ask as ask_redis
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.runtime.status import is_up

KILLED = ("gateway", "market", "trading", "strategy", "web", "redis", "exchange")
SERVICES = ("gateway", "market", "trading", "strategy", "web")
RECONCILES = ("gateway", "trading", "exchange")
"""After these Trading asks everything anew and says so; the others only have to be there."""
FIGURES = ("up_p50_s", "up_max_s", "active_p50_s", "active_max_s")
LOOK_SECONDS = 0.01
PATIENCE_SECONDS = 120.0
CALM_SECONDS = 1.5
"""Longer than the second within which supervisord takes a start for a failed one."""


def run(folder: Path, kills: int) -> dict[str, Any]:
    with _stack(folder / "recovery") as house:
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in KILLED}
        with tqdm(total=kills * len(KILLED), unit="kill", file=sys.stderr) as progress:
            for name in KILLED * kills:
                progress.set_postfix_str(name)
                house.until(house.is_calm, f"calm before {name} is killed")
                time.sleep(CALM_SECONDS)
                measured[name].append(house.kill(name))
                progress.update()
    figures = {name: _figures(times) for name, times in measured.items()}
    slowest = {figure: max(each[figure] for each in figures.values()) for figure in FIGURES}
    return {"kills": kills * len(KILLED), **slowest, "rows": [{"service": name, **figures[name]} for name in KILLED]}


def _figures(times: list[tuple[float, float]]) -> dict[str, float]:
    up, active = [each[0] for each in times], [each[1] for each in times]
    seconds = (quantile(up, 0.5), max(up), quantile(active, 0.5), max(active))
    return {figure: round(value, 2) for figure, value in zip(FIGURES, seconds, strict=True)}


class Running:
    """The running house, and what one sees of it from outside."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.control = Control(settings)
        self.strategies: dict[str, str] = self._strategies()

    def kill(self, name: str) -> tuple[float, float]:
        """Seconds until the process is up again, and until the house is ACTIVE."""
        last, killed_at = self._last_event(), WallClock().now()
        pid = self._pid(name)
        if pid is None:
            raise BenchFailed(f"{name} does not run; see {self.settings.logs}")
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self.until(lambda: self._pid(name) not in (None, pid) and self._is_up(BY_NAME[name]), f"{name} up again")
        up = time.monotonic() - began
        self.until(lambda: self._is_active(name, last, killed_at), f"ACTIVE after {name} was killed")
        return up, time.monotonic() - began

    def is_calm(self) -> bool:
        return all(self._status(name).get("ready") for name in SERVICES) and self._trades()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise BenchFailed(f"not seen within {PATIENCE_SECONDS:.0f} s: {what}; see {self.settings.logs}")
            time.sleep(LOOK_SECONDS)

    def _is_active(self, name: str, last: str, killed_at: datetime) -> bool:
        if name in RECONCILES and not self._has_reconciled_after(last):
            return False
        if name == "redis" and not all(self._has_beaten_after(each, killed_at) for each in SERVICES):
            return False
        if name in SERVICES and not self._status(name).get("ready"):
            return False
        return self._trades() and (name != "strategy" or self._strategies() == self.strategies)

    def _trades(self) -> bool:
        gateway, trading = self._status("gateway"), self._status("trading")
        return bool(gateway.get("connected")) and trading.get("trading_state") == "ACTIVE"

    def _is_up(self, program: Program) -> bool:
        if program.probe != "ready":
            return is_up(self.settings, program)
        return is_ready(self.settings.port(program.name), self.settings.token, "/health")

    def _pid(self, name: str) -> int | None:
        return next((process.pid for process in self.control.processes() if process.name == name), None)

    def _status(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = ask(self.settings, name, "GET", "/status", timeout=1.0)
        except CallError:
            return {}
        return found

    def _has_beaten_after(self, name: str, moment: datetime) -> bool:
        status = self._status(name)
        beat = status.get("heartbeat")
        return bool(status.get("ready")) and beat is not None and datetime.fromisoformat(beat) > moment

    def _strategies(self) -> dict[str, str]:
        try:
            found = ask(self.settings, "strategy", "GET", "/strategies", timeout=1.0)["strategies"]
        except CallError:
            return {}
        return {each["strategy_name"]: each["state"] for each in found}

    def _last_event(self) -> str:
        newest = ask_redis(self.settings, ("XREVRANGE", EVENT.name, "+", "-", "COUNT", "1"))
        return str(newest[0][0]) if newest else "0-0"

    def _has_reconciled_after(self, last: str) -> bool:
        try:
            entries = ask_redis(self.settings, ("XREVRANGE", EVENT.name, "+", f"({last}", "COUNT", "50"))
        except (BusError, SettingsError):
            return False
        return any(
            entry_key(entry_id) > entry_key(last) and _event(fields) is EventType.RECONCILED
            for entry_id, fields in entries
        )


def _event(fields: Any) -> EventType:
    text = fields["data"] if isinstance(fields, dict) else fields[1]
    return decode(EventData, text.encode() if isinstance(text, str) else text).event


@contextmanager
def _stack(data: Path) -> Iterator[Running]:
    """As `arbig up` starts it; pages that nobody looks at here are stopped."""
    shutil.rmtree(data, ignore_errors=True)
    settings = load_settings(data=data, port_offset=free_offset())
    words, place = [str(Path(sys.executable).with_name("arbig"))], ["--data", str(data)]
    starting = subprocess.run(
        [*words, "up", "--detach", *place, "--port-offset", str(settings.port_offset)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    try:
        if starting.returncode:
            raise BenchFailed(f"arbig up ended with {starting.returncode}: {starting.stdout.strip()}")
        for page in ("console", "jupyter"):
            Control(settings).stop(page)
        yield Running(settings)
    finally:
        subprocess.run([*words, "down", *place], stdout=subprocess.DEVNULL, check=False)
