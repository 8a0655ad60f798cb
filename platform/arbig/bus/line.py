"""Line: one raw connection to Redis, commands out in one write, replies parsed in batches by hiredis.

It never sends anything twice. Whatever interrupts a call (a timeout, a cancellation, a broken socket) closes the line,
so that a late reply can never be taken for the answer to another question; the owner opens a new one.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import hiredis

from arbig.bus.port import BusError

Command = tuple[str | bytes, ...]

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 2.0
_READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis listens and as whom to log in."""

    host: str = "127.0.0.1"
    port: int = 6379
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: bool = False
    ca: str = ""
    """The file of who vouches for its certificate, when the machine does not know them."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Only this machine can be meant."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


_MENDS = (
    (
        ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed"),
        "shows a certificate that nobody known here vouches for; name its authority in config/redis_config.yaml: "
        "ca: /path/to/ca.pem",
    ),
    (
        ("WRONGPASS", "NOAUTH", "invalid username-password", "Authentication required", "without any password"),
        "refuses user '{user}': wrong user name or password; an outside server's stands in config/redis_config.yaml "
        "(username, password), the embedded server's are made by `arbig up`",
    ),
    (
        ("NOPERM", "has no permissions", "No permissions"),
        "does not let user '{user}' do this; the rights are made from the topics by `arbig up`",
    ),
    (
        ("OOM", "maxmemory"),
        "is out of memory; raise its maxmemory (the policy stays noeviction) or free memory",
    ),
    (
        ("READONLY", "read only replica"),
        "is a read-only replica; name the primary in config/redis_config.yaml",
    ),
    (
        ("MISCONF", "stop-writes-on-bgsave-error"),
        "cannot write its disk; free space under its data folder",
    ),
    (("LOADING",), "is still loading its data; it answers by itself in a moment"),
    (("DB index is out of range",), "has no database {db}; set db: 0 in config/redis_config.yaml"),
)
_UNREACHABLE = "is not there; start it with `arbig up`, or name another server in config/redis_config.yaml"


def complaint(address: RedisAddress, found: object) -> BusError:
    """One line: which server, what is wrong, how to mend it."""
    if isinstance(found, BusError):
        return found
    text = " ".join(str(found).split())
    for signs, sentence in _MENDS:
        if any(sign in text for sign in signs):
            said = sentence.format(user=address.username or "default", db=address.db)
            return BusError(f"Redis {address} {said} (it said: {text})")
    if isinstance(found, TimeoutError):
        return BusError(f"Redis {address} did not answer in time; see `arbig status` and data/logs/redis.jsonl")
    if isinstance(found, OSError | EOFError):
        return BusError(f"Redis {address} {_UNREACHABLE} ({text or type(found).__name__})")
    return BusError(f"Redis {address} refused: {text}")


class Line:
    """Not for two tasks at once: its owner takes turns."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader()

    @classmethod
    async def open(cls, address: RedisAddress, name: str) -> Line:
        """Connect, log in, say who we are. Raises BusError."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                context = ssl.create_default_context(cafile=address.ca or None) if address.tls else None
                reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context, limit=1 << 20)
        except OSError as error:
            raise complaint(address, error) from error
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        line = cls(reader, writer)
        try:
            for reply in await line.call(_greetings(address, name)):
                if isinstance(reply, hiredis.ReplyError):
                    line.close()
                    raise complaint(address, reply)
        except (OSError, EOFError) as error:
            raise complaint(address, error) from error
        return line

    @property
    def is_open(self) -> bool:
        return not (self._writer.is_closing() or self._reader.at_eof())

    def write(self, commands: Sequence[Command]) -> None:
        self._writer.write(b"".join([hiredis.pack_command(command) for command in commands]))  # type: ignore[arg-type]  # the stub knows one argument only

    async def call(self, commands: Sequence[Command], seconds: float = REPLY_SECONDS) -> list[Any]:
        """Send the commands in one write and return their replies; an error reply is a value among them."""
        replies: list[Any] = []
        try:
            async with asyncio.timeout(seconds):
                self.write(commands)
                await self._writer.drain()
                while len(replies) < len(commands):
                    replies += await self.received()
        except BaseException:
            self.close()
            raise
        return replies

    async def received(self) -> list[Any]:
        """What has come in since, at least one reply or push. EOFError when the server hung up."""
        found: list[Any] = []
        parser = self._parser
        while not found:
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise EOFError("the server closed the connection")
            parser.feed(data)
            try:
                while (item := parser.gets()) is not False:
                    found.append(item)
            except hiredis.ProtocolError as error:
                raise EOFError(f"what answers there is not Redis: {error}") from error
        return found

    def close(self) -> None:
        self._writer.transport.abort()


def _greetings(address: RedisAddress, name: str) -> list[Command]:
    login: list[Command] = []
    if address.password:
        login = [("AUTH", address.username or "default", address.password)]
    return [*login, ("CLIENT", "SETNAME", name), ("SELECT", str(address.db))]


class Pauses:
    """Waits between attempts: 0.1 s growing to 2 s, with jitter so that services do not come back in step."""

    STEPS = (0.1, 0.2, 0.5, 1.0, 2.0)

    def __init__(self) -> None:
        self._taken = 0

    def reset(self) -> None:
        self._taken = 0

    async def take(self) -> None:
        seconds = self.STEPS[min(self._taken, len(self.STEPS) - 1)]
        self._taken += 1
        await asyncio.sleep(seconds * random.uniform(0.8, 1.2))
