"""Settings: the files under config/ and the places under data/, checked before anything starts.

A bad file raises SettingsError, one line: file, field, what was found, what was expected, a line that mends it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from arbig.runtime.files import Config, SettingsError, load_yaml_model
from arbig.store.place import Place, is_near, parsed, unguarded

if TYPE_CHECKING:
    from arbig.bus.redis import RedisAddress

__all__ = ["HouseConfig", "RedisConfig", "Settings", "SettingsError", "load_settings", "load_yaml_model"]

PORTS: Mapping[str, int] = {
    "redis": 6379,
    "gateway": 8000,
    "trading": 8001,
    "strategy": 8002,
    "market": 8003,
    "scheduler": 8004,
    "alerts": 8005,
    "web": 8080,
    "ml": 8100,
    "console": 5006,
    "jupyter": 8888,
}

EXIT_CONFIG = 78
DATABASE_PASSWORD = "ARBIG_DATABASE_PASSWORD"
LOOPBACK = "127.0.0.1"
HOSTED = ("gateway", "market", "trading", "strategy")
"""What may live on a host of its own. The exchange is beside the Gateway; people's pages stay on 127.0.0.1."""
WRITABLE = "a folder we may write to is needed, give one: --data DIR"


class HouseConfig(Config):
    """`config/arbig.yaml`: which exchange, which account, which contracts."""

    gateway: str = Field("sim", pattern=r"^(sim|ctp|vnpy_[a-z0-9_]+)$", examples=["sim"])
    mode: Literal["paper", "live"] = "paper"
    account_id: str = Field("sim", min_length=1)
    symbols: list[str] = Field(["au2512"], min_length=1)
    record_ticks: bool = False
    database: str = Field("", examples=["postgresql://arbig@127.0.0.1:5432/arbig"])
    database_password_file: str = Field("", examples=["/etc/arbig/database_password"])

    @field_validator("database")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if url:
            parsed(url)
        return url


class RedisConfig(Config):
    """`config/redis_config.yaml`, the specification's four keys. `embedded: true` (the default) runs our own server and
    leaves them aside; `embedded: false` uses the server they name."""

    host: str = Field(min_length=1, examples=["localhost"])
    port: int = Field(ge=1, le=65535, examples=[6379])
    username: str = ""
    password: str = Field("", repr=False)
    db: int = Field(0, ge=0)
    tls: bool = False
    ca: str = Field("", examples=["/etc/ssl/redis-ca.pem"])
    embedded: bool = True

    @model_validator(mode="after")
    def _guarded_beyond_this_machine(self) -> RedisConfig:
        """Whoever can write to Redis trades: over a network only with a password and TLS."""
        missing = [name for name, there in (("password", self.password), ("tls", self.tls)) if not there]
        if self.embedded or not missing or self._is_local():
            return self
        lines = {"password": "password: ${env:REDIS_PASSWORD}", "tls": "tls: true"}
        raise ValueError(
            f"found host: {self.host} without {' and '.join(missing)}, expected both for a server beyond this "
            f"machine; write {', '.join(lines[name] for name in missing)}"
        )

    def _is_local(self) -> bool:
        from arbig.bus.line import is_loopback  # asyncio, ssl and the parser come with it

        return is_loopback(self.host)


class TlsConfig(Config):
    """What this host shows the others, and who vouches for them."""

    certificate: str = Field(min_length=1, examples=["/etc/arbig/host.pem"])
    key: str = Field(min_length=1, examples=["/etc/arbig/host.key"])
    ca: str = Field(min_length=1, examples=["/etc/arbig/ca.pem"])


class HostsConfig(Config):
    """`config/hosts.yaml`: on which address each service listens and is found. Beyond this machine only with TLS."""

    gateway: str = Field(LOOPBACK, examples=["10.0.0.2"])
    market: str = Field(LOOPBACK, examples=["10.0.0.3"])
    trading: str = Field(LOOPBACK, examples=["10.0.0.4"])
    strategy: str = Field(LOOPBACK, examples=["10.0.0.5"])
    token_file: str = Field("", examples=["/etc/arbig/token"])
    tls: TlsConfig | None = None

    @model_validator(mode="after")
    def _guarded_beyond_this_machine(self) -> HostsConfig:
        """The token that moves money stands in every question."""
        for name in HOSTED:
            if not is_near(getattr(self, name)) and self.tls is None:
                raise ValueError(
                    f"found {name}: {getattr(self, name)} without tls, expected it for an address beyond this machine; "
                    "write tls: {certificate: ..., key: ..., ca: ...}"
                )
        return self


@dataclass(frozen=True)
class Settings:
    """What every process knows about the house: its folders, ports, secrets and choices."""

    root: Path
    config: Path
    data: Path
    port_offset: int
    house: HouseConfig
    redis: RedisConfig
    hosts: HostsConfig = field(default_factory=lambda: HostsConfig.model_validate({}))
    only: tuple[str, ...] = ()
    """The services that run on this host, where the house has several; empty is all of them."""

    @property
    def gateway(self) -> str:
        return self.house.gateway

    @property
    def mode(self) -> str:
        return self.house.mode

    @property
    def account_id(self) -> str:
        return self.house.account_id

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.house.symbols)

    @property
    def record_ticks(self) -> bool:
        return self.house.record_ticks

    @property
    def run(self) -> Path:
        return private_folder(self.data / "run")

    @property
    def logs(self) -> Path:
        return folder(self.data / "logs")

    @cached_property
    def sockets(self) -> Path:
        """A short private folder: a unix socket's path may have about 100 characters."""
        digest = hashlib.sha256(str(self.data).encode()).hexdigest()[:12]
        return private_folder(Path("/tmp") / f"arbig-{os.getuid()}-{digest}")

    def socket(self, name: str) -> Path:
        return self.sockets / f"{name}.sock"

    def port(self, service: str) -> int:
        if service == "redis":
            return self.redis.port if not self.redis.embedded else int(self._embedded_redis()["port"])
        return PORTS[service] + self.port_offset

    def host(self, service: str) -> str:
        """The address a service listens on and is found at."""
        return str(getattr(self.hosts, service)) if service in HOSTED else LOOPBACK

    def speaks_tls(self, service: str) -> bool:
        return self.hosts.tls is not None and self.host(service) != LOOPBACK

    def runs_here(self, service: str) -> bool:
        return not self.only or service in self.only

    @cached_property
    def token(self) -> str:
        """The services' own bearer token; all hosts of a house have the same."""
        if self.hosts.token_file:
            return read_secret(self.token_path, "config/hosts.yaml: token_file")
        return secret_file(self.token_path)

    @property
    def token_path(self) -> Path:
        return Path(self.hosts.token_file).expanduser() if self.hosts.token_file else self.run / "token"

    @cached_property
    def viewer_token(self) -> str:
        """Opens Web for looking only."""
        return secret_file(self.run / "viewer_token")

    @cached_property
    def ml_token(self) -> str:
        """Opens the model server, and nothing else."""
        return secret_file(self.run / "ml_token")

    @cached_property
    def secret(self) -> str:
        """Signs session cookies."""
        return secret_file(self.run / "secret")

    def redis_for(self, user: str) -> RedisAddress:
        """Where Redis is, and under which name and password `user` enters. The embedded server's port and passwords are
        read anew each time: it may have come back elsewhere."""
        from arbig.bus.redis import RedisAddress

        if not self.redis.embedded:
            outside = self.redis
            return RedisAddress(**outside.model_dump(exclude={"embedded"}))
        entry = self._embedded_redis()
        if user not in entry["users"]:
            raise SettingsError(f"{self.run / 'redis.json'}: knows no user {user!r}; run: arbig restart redis")
        return RedisAddress("127.0.0.1", entry["port"], user, entry["users"][user])

    def database(self, book: str) -> Place:
        """Where a book lies ("trading", "strategy"): `data/db/{book}.db`, or its schema of the database that
        `config/arbig.yaml` names. Raises SettingsError for one beyond this machine that is not guarded."""
        if not self.house.database:
            return self.data / "db" / f"{book}.db"
        address = replace(parsed(self.house.database), schema=book, password=self.database_password)
        if (lacks := unguarded(address)) is not None:
            raise SettingsError(f"config/arbig.yaml: database: {lacks}")
        return address

    @cached_property
    def database_password(self) -> str:
        """From the environment, else from the file `config/arbig.yaml` names; empty where the server wants none."""
        given = os.environ.get(DATABASE_PASSWORD, "")
        if given or not self.house.database_password_file:
            return given
        return read_secret(Path(self.house.database_password_file), "config/arbig.yaml: database_password_file")

    def _embedded_redis(self) -> dict[str, Any]:
        path = self.run / "redis.json"
        try:
            entry: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            raise SettingsError(f"{path}: the embedded Redis has not started; run: arbig up") from None
        return entry


def load_settings(
    root: Path | str | None = None,
    config: Path | str | None = None,
    data: Path | str | None = None,
    port_offset: int | None = None,
) -> Settings:
    """Arguments first, then `ARBIG_ROOT`, `ARBIG_CONFIG`, `ARBIG_DATA`, `ARBIG_PORT_OFFSET`, then the folder at or
    above the current one that holds `config/`."""
    home = _path(root, "ARBIG_ROOT") or _find_root()
    folder_of_config = _path(config, "ARBIG_CONFIG") or home / "config"
    folder_of_data = _path(data, "ARBIG_DATA") or home / "data"
    if not folder_of_config.is_dir():
        raise SettingsError(f"{folder_of_config}: no such folder; run arbig where config/ is, or give --config DIR")
    return Settings(
        root=home,
        config=folder_of_config,
        data=folder_of_data,
        port_offset=_port_offset(port_offset, folder_of_data),
        house=load_yaml_model(folder_of_config / "arbig.yaml", HouseConfig),
        redis=load_yaml_model(folder_of_config / "redis_config.yaml", RedisConfig),
        hosts=load_yaml_model(folder_of_config / "hosts.yaml", HostsConfig),
        only=_only(os.environ.get("ARBIG_SERVICES", "")),
    )


def folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; a folder we may write to is needed, give one: --data DIR"
        ) from None
    return path


def private_folder(path: Path) -> Path:
    """A folder of mode 0700 that is really ours, not one that somebody else laid there before us."""
    folder(path.parent)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise SettingsError(f"{path}: is not a folder of our own; remove it: rm -r {path}")
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; a folder we may write to is needed, give one: --data DIR"
        ) from None
    return path


def secret_file(path: Path) -> str:
    """The secret in the file; made at the first look, whoever of several processes looks first."""
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()


def read_secret(path: Path, where: str) -> str:
    """A word that somebody laid into a file of his own: nobody else may read it."""
    path = path.expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(f"{where}: {path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")
        word = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{where}: {path}: {error.strerror}; write the secret into it, mode 0600") from None
    if not word:
        raise SettingsError(f"{where}: {path}: nothing is there; write the secret into it")
    return word


def _path(given: Path | str | None, variable: str) -> Path | None:
    text = given or os.environ.get(variable)
    return Path(text).expanduser().resolve() if text else None


def _find_root() -> Path:
    here = Path.cwd()
    for place in (here, *here.parents):
        if (place / "config" / "redis_config.yaml").exists():
            return place
    raise SettingsError(
        f"{here}: no config/redis_config.yaml here or above; run arbig in its folder, or set ARBIG_ROOT"
    )


def _only(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in (*PORTS, "exchange", "alerts", "ml"):
            raise SettingsError(f"ARBIG_SERVICES: found {name!r}, no such service; write e.g. trading,strategy")
    return names


def _port_offset(given: int | None, data: Path) -> int:
    text = os.environ.get("ARBIG_PORT_OFFSET")
    if given is None and text:
        try:
            given = int(text)
        except ValueError:
            raise SettingsError(f"ARBIG_PORT_OFFSET: found {text!r}, expected an integer; write e.g. 100") from None
    if given is None:
        given = _recorded_offset(data / "run" / "ports.json")
    if not 0 <= given <= 50000:
        raise SettingsError(f"port offset: found {given}, expected 0 to 50000; write e.g. --port-offset 100")
    return given


def _recorded_offset(path: Path) -> int:
    """The offset of the copy that runs on this data folder, so that `arbig status --data DIR` finds it."""
    try:
        return int(json.loads(path.read_text())["port_offset"])
    except (OSError, ValueError, KeyError):
        return 0
