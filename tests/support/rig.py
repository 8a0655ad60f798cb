"""Rig: every service of the house as a process of its own, behind a bad network of its own, killed and born singly.

It answers the same questions as `house.House`, so that `books.py` can be held against it. Crash points are armed while
the processes run: see `runtime/crash.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import postgres
import yaml
from lives import born
from places import KIND, POSTGRESQL, enter
from proxy import Proxy

from arbig.bus.line import Line
from arbig.domain.risk import RiskSettings
from arbig.runtime import redis_server
from arbig.runtime.http import CallError, ask
from arbig.runtime.ready import accepts, is_open, is_ready
from arbig.runtime.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
MODULES = {
    "redis": "arbig.runtime.redis_server",
    "exchange": "arbig.exchange",
    "gateway": "arbig.gateway",
    "market": "arbig.market",
    "trading": "arbig.trading",
    "strategy": "arbig.strategy",
    "web": "arbig.web",
    "scheduler": "arbig.scheduler",
}
ON_REDIS = ("gateway", "market", "trading", "strategy", "web")
WATCHING = ("position_mismatch", "stream_lag")
OPEN_RISK = tuple(section.name for section in fields(RiskSettings) if section.name not in WATCHING)
"""Limits that would stand in the way of many orders, and triggers that faults alone would pull."""
DISK_SIZE = "96m"
DATABASE_DISK_SIZE = "512m"
IN_POSTGRESQL = {"db/trading.db": "trading", "db/strategy.db": "strategy"}
"""The schema where a book lies then; the others are files always."""


class Rig:
    def __init__(self, home: Path, port_offset: int, package: Path | None = None) -> None:
        self.home, self.port_offset = home, port_offset
        self.package = package
        self.data = home / "data"
        self.config = home / "config"
        self.armed = home / "crash"
        self.clock = home / "clock"
        self.hit = home / "crash.hit"
        self.processes: dict[str, ForkServerProcess] = {}
        self.proxies: dict[str, Proxy] = {}
        shutil.copytree(ROOT / "config", self.config)
        for path in (self.config / "strategies").glob("*.yaml"):
            path.unlink()
        (home / "strategies").mkdir()
        self.edit("risk.yaml", **dict.fromkeys(OPEN_RISK))
        (self.config / "schedule.yaml").write_text("schedule: {}\n")
        self.edit("simulation.yaml", capital=500_000_000, history_days=0, wait_for=[])
        self.edit("simulation.yaml", reconnect_seconds=[0.5, 0.5, 1.0, 2.0])
        self.server: postgres.Server | None = None
        if KIND == POSTGRESQL:
            self.server = postgres.shared(DATABASE_DISK_SIZE if os.getuid() == 0 else "")
            self.server.start()
            self.url = self.server.new()
            enter(self.config, self.url)

    def edit(self, name: str, **changes: Any) -> None:
        """Change keys of a YAML file under config/."""
        path = self.config / name
        found = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(yaml.safe_dump({**found, **changes}, allow_unicode=True), "utf-8")

    @property
    def settings(self) -> Settings:
        return load_settings(root=self.home, config=self.config, data=self.data, port_offset=self.port_offset)

    # ---- processes ----

    @contextmanager
    def running(self, disks: Sequence[str] = ()) -> Iterator[Rig]:
        """Everybody up; those folders of data/ on small disks of their own."""
        with ExitStack() as stack:
            for name in disks:
                stack.enter_context(_small_disk(self.data / name))
            stack.callback(self.end)
            if self.server is not None:
                self.proxies[POSTGRESQL] = proxy = stack.enter_context(Proxy("127.0.0.1", self.server.port))
                enter(self.config, self.url.replace(f":{self.server.port}/", f":{proxy.port}/"))
            self.start("redis")
            self.wait_for("redis")
            for service in ON_REDIS:
                self.proxies[service] = stack.enter_context(Proxy("127.0.0.1", self.settings.port("redis")))
                self._own_config(service)
            for service in MODULES:
                if service not in self.processes:
                    self.start(service)
            for service in MODULES:
                self.wait_for(service)
            yield self

    def hurry_past_the_auction(self, speed: float) -> None:
        """The exchange goes on at this speed when the night has opened."""
        clock = self.ask("gateway", "GET", "/clock")
        while clock is None or not clock["connected"] or clock["session_time"][11:] < "21:00:30":
            time.sleep(0.05)
            clock = self.asked("gateway", "/clock")
        self.edit("simulation.yaml", speed=speed)
        self.kill("exchange")
        self.start("exchange")
        self.wait_for("exchange")

    def _own_config(self, service: str) -> None:
        """The same house, with Redis behind this service's own proxy. Trading's janitor enters by the same name."""
        config = self.home / f"config-{service}"
        shutil.copytree(self.config, config)
        user = "admin" if service == "trading" else service
        address = self.settings.redis_for(user)
        values = {
            "host": "127.0.0.1",
            "port": self.proxies[service].port,
            "username": user,
            "password": address.password,
            "embedded": False,
        }
        (config / "redis_config.yaml").write_text(yaml.safe_dump(values))

    def start(self, service: str) -> None:
        if service == POSTGRESQL:
            self.database_server.start()
            return
        own = self.home / f"config-{service}"
        environment = {
            "ARBIG_ROOT": self.home,
            "ARBIG_CONFIG": own if own.exists() else self.config,
            "ARBIG_DATA": self.data,
            "ARBIG_PORT_OFFSET": self.port_offset,
            "ARBIG_CRASH": f"@{self.armed}",
            "ARBIG_CLOCK": f"@{self.clock}",
        }
        self.processes[service] = born(
            MODULES[service], self.package, **{name: str(value) for name, value in environment.items()}
        )

    def end(self) -> None:
        for process in self.processes.values():
            if process.is_alive():
                self._signal(process, signal.SIGCONT)
                process.terminate()
        deadline = time.monotonic() + 8
        for process in self.processes.values():
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def is_alive(self, service: str) -> bool:
        return self.processes[service].is_alive()

    @property
    def database_server(self) -> postgres.Server:
        assert self.server is not None, f"the books lie in files; run with ARBIG_TEST_DATABASE={POSTGRESQL}"
        return self.server

    def signal(self, service: str, signum: signal.Signals) -> None:
        if service == POSTGRESQL:
            self.database_server.signal(signum)
            return
        self._signal(self.processes[service], signum)

    @staticmethod
    def _signal(process: ForkServerProcess, signum: signal.Signals) -> None:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signum)

    def kill(self, service: str) -> None:
        """SIGKILL; returns when it is gone."""
        if service == POSTGRESQL:
            self.database_server.kill()
            return
        self.signal(service, signal.SIGKILL)
        self.processes[service].join()

    def is_stopped(self, service: str) -> bool:
        pid = self.processes[service].pid
        return pid is not None and self._state_of(pid) == "T"

    @staticmethod
    def _state_of(pid: int) -> str:
        """As the kernel has it: R running, S sleeping, T stopped; empty when it is gone."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return ""

    def revive(self) -> list[str]:
        """What a supervisor does: whoever is dead is started. Returns their names."""
        dead = [service for service, process in self.processes.items() if not process.is_alive()]
        for service in dead:
            self.processes[service].join()
        if self.server is not None and not self.server.is_running:
            dead.insert(0, POSTGRESQL)
        for service in dead:
            self.start(service)
        return dead

    def stands(self, service: str) -> bool:
        """Whether the service does what it is there for."""
        if not self.is_alive(service):
            return False
        if service == "redis":
            return (self.data / "run" / "redis.json").exists() and is_open(self.settings.port("redis"))
        if service == "exchange":
            return accepts(self.settings.socket("exchange"))
        return is_ready(self.settings.port(service), self.settings.token)

    def wait_for(self, service: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not self.stands(service):
            assert time.monotonic() < deadline, f"{service} is not ready after {seconds} s"
            time.sleep(0.05)

    @contextmanager
    def full_disk(self, name: str) -> Iterator[None]:
        """Not one byte more can be written into that folder."""
        folder = self.database_server.data if name == POSTGRESQL else self.data / name
        ballast = folder / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        assert os.statvfs(ballast).f_bfree == 0, f"{ballast.parent} is not full"
        try:
            yield
        finally:
            ballast.unlink()

    # ---- crash points ----

    def arm(self, point: str, stop: bool = False) -> None:
        """The next pass of this point is the last one, or stands still."""
        self.hit.unlink(missing_ok=True)
        fresh = self.armed.with_suffix(".new")
        fresh.write_text(f"{point}:1:stop" if stop else point)
        fresh.replace(self.armed)

    def disarm(self) -> None:
        self.armed.unlink(missing_ok=True)

    def was_hit(self) -> str:
        return self.hit.read_text() if self.hit.exists() else ""

    # ---- questions ----

    def ask(self, service: str, method: str, path: str, body: Any = None, seconds: float = 5.0) -> Any:
        return ask(self.settings, service, method, path, json=body, timeout=seconds)

    def asked(self, service: str, path: str) -> Any:
        """The answer, None while there is none."""
        try:
            return self.ask(service, "GET", path, seconds=2.0)
        except CallError:
            return None

    def redis(self, *command: str) -> Any:
        return redis_server.ask(self.settings, command)

    async def redis_as(self, user: str, *commands: tuple[str | bytes, ...]) -> list[Any]:
        line = await Line.open(self.settings.redis_for(user), "rig")
        try:
            return await line.call(commands)
        finally:
            line.close()

    def database(self, name: str) -> sqlite3.Connection | postgres.Looking:
        """Read only: `exchange/exchange.db`, `db/gateway.db`, `db/trading.db`, or where the house has it instead."""
        if self.server is not None and name in IN_POSTGRESQL:
            return postgres.looking(self.url, IN_POSTGRESQL[name])
        return sqlite3.connect(f"file:{self.data / name}?mode=ro", uri=True, timeout=2)


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own that can be full, where we may mount one."""
    folder.mkdir(parents=True)
    if os.getuid() != 0:
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=0700", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
