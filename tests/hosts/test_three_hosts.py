"""A house over three hosts: each with an address, a data folder and a configuration of its own, one Redis for all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import until
from lives import born

from arbig.runtime.http import ask
from arbig.runtime.ready import accepts, is_open
from arbig.runtime.settings import Settings, load_settings

pytestmark = [pytest.mark.processes, pytest.mark.chaos]
ROOT = Path(__file__).parents[2]
OFFSET = 5700
ADDRESSES = {"gateway": "127.0.0.2", "market": "127.0.0.3", "trading": "127.0.0.3", "strategy": "127.0.0.4"}
HOSTS = {"a": ("redis", "exchange", "gateway"), "b": ("market", "trading"), "c": ("strategy",)}
MODULES = {"redis": "arbig.runtime.redis_server"}
BOOKS = {"gateway.db", "trading.db", "strategy.db"}


class Host:
    """One machine's folders, as its operator would lay them out; one strategy, where strategies live."""

    def __init__(self, name: str, home: Path, certificates: Path) -> None:
        self.config = shutil.copytree(ROOT / "config", home / name / "config")
        self.data = home / name / "data"
        token = home / name / "token"
        token.touch(mode=0o600)
        token.write_text("a-token-that-all-three-hosts-were-given")
        tls = {"certificate": "cert.pem", "key": "key.pem", "ca": "cert.pem"}
        files = {word: str(certificates / file) for word, file in tls.items()}
        self.write("hosts.yaml", {**ADDRESSES, "token_file": str(token), "tls": files})

    def write(self, name: str, values: dict[str, Any]) -> None:
        (self.config / name).write_text(yaml.safe_dump(values))

    @property
    def settings(self) -> Settings:
        return load_settings(root=ROOT, config=self.config, data=self.data, port_offset=OFFSET)

    @property
    def books(self) -> set[str]:
        return {path.name for path in (self.data / "db").glob("*.db")} & BOOKS

    def start(self, service: str) -> ForkServerProcess:
        words = {"ROOT": ROOT, "CONFIG": self.config, "DATA": self.data, "PORT_OFFSET": OFFSET}
        module = MODULES.get(service, f"arbig.{service}")
        return born(module, **{f"ARBIG_{name}": str(value) for name, value in words.items()})


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "tls"
    folder.mkdir()
    names = ",".join(f"IP:{address}" for address in sorted(set(ADDRESSES.values())))
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=arbig -addext"
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", *words.split(), f"subjectAltName={names}", *files], check=True, capture_output=True)
    return folder


@contextmanager
def running(hosts: dict[str, Host]) -> Iterator[dict[str, ForkServerProcess]]:
    lives: dict[str, ForkServerProcess] = {}
    try:
        first = hosts["a"]
        lives["redis"] = first.start("redis")
        until(lambda: is_open(first.settings.port("redis")), 60, "Redis")
        address = first.settings.redis_for("admin")
        entry = {"username": "admin", "password": address.password, "embedded": False}
        for name in ("b", "c"):
            hosts[name].write("redis_config.yaml", {"host": "127.0.0.1", "port": address.port, **entry})
        for name, services in HOSTS.items():
            lives |= {service: hosts[name].start(service) for service in services if service != "redis"}
        until(lambda: accepts(first.settings.socket("exchange")), 60, "the exchange")
        yield lives
    finally:
        for life in reversed(lives.values()):
            life.terminate()
        for life in lives.values():
            life.join(10)
            life.kill()
            life.join()


def test_a_house_over_three_hosts_trades_and_survives_a_host_s_death(tmp_path: Path, certificates: Path) -> None:
    hosts = {name: Host(name, tmp_path, certificates) for name in HOSTS}
    here = hosts["c"].settings
    with running(hosts) as lives:
        for service in ADDRESSES:
            until(lambda service=service: ask(here, service, "GET", "/ready")["ready"], 60, f"{service} is ready")
        first = until(lambda: ask(here, "trading", "GET", "/trades")["trades"], 120, "the strategy's first fill")
        assert "MaRsiStrategy" == first[0]["strategy_name"]
        lives["trading"].kill()
        lives["trading"].join()
        lives["trading"] = hosts["b"].start("trading")
        until(lambda: ask(here, "trading", "GET", "/state")["state"] == "ACTIVE", 60, "Trading stands again")
        until(lambda: len(ask(here, "trading", "GET", "/trades")["trades"]) > len(first), 180, "it trades on")
    assert {name: host.books for name, host in hosts.items()} == {
        "a": {"gateway.db"}, "b": {"trading.db"}, "c": {"strategy.db"},
    }  # fmt: skip
