"""Redis: whoever can write there trades. Beyond this machine only with password and TLS; each user only his own."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy import Proxy

from arbig.bus.access import ADMIN, READERS, USERS, rights
from arbig.bus.port import BusError
from arbig.bus.redis import RedisAddress, RedisBus
from arbig.bus.topics import SERVICES, STREAMS
from arbig.runtime import redis_server
from arbig.runtime.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
FORBIDDEN = ("flushall", "eval x 0", "config set a b", "keys *", "acl list", "shutdown", "del stream:x")


def write_config(home: Path, text: str) -> Path:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "redis_config.yaml").write_text(text, "utf-8")
    return home


@pytest.mark.parametrize(
    ("lines", "missing", "mend"),
    [
        ("", "password and tls", "password: ${env:REDIS_PASSWORD}, tls: true"),
        ("password: a-planted-word", "tls", "tls: true"),
        ("tls: true", "password", "password: ${env:REDIS_PASSWORD}"),
    ],
)
def test_a_server_beyond_this_machine_needs_password_and_tls(
    tmp_path: Path, lines: str, missing: str, mend: str
) -> None:
    home = write_config(tmp_path, f"host: redis.lan\nport: 6379\nembedded: false\n{lines}\n")
    with pytest.raises(SettingsError) as refused:
        load_settings(root=home)
    assert str(refused.value) == (
        f"config/redis_config.yaml: found host: redis.lan without {missing}, expected both for a server beyond this "
        f"machine; write {mend}"
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", '"::1"'])
def test_a_server_on_this_machine_may_do_without(tmp_path: Path, host: str) -> None:
    home = write_config(tmp_path, f"host: {host}\nport: 6379\nembedded: false\n")
    assert load_settings(root=home).redis_for("reader").password == ""


def test_a_password_is_shown_by_no_value_and_no_complaint(tmp_path: Path) -> None:
    word = "a-planted-word"
    home = write_config(tmp_path, f"host: 127.0.0.1\nport: 6379\nembedded: false\npassword: {word}\n")
    settings = load_settings(root=home)
    address = settings.redis_for("reader")
    assert address.password == word
    shown = [repr(settings), repr(settings.redis), str(settings), repr(address), str(address)]
    shown += [str(redis_server.complaint(address, OSError("no route")))]
    for bad in (f"password: [{word}]", f"password: {word}\nport: x", f"passwort: {word}"):
        with pytest.raises(SettingsError) as refused:
            load_settings(root=write_config(tmp_path, f"host: h\nport: 1\nembedded: false\n{bad}\n"))
        shown.append(str(refused.value))
    assert [line for line in shown if word in line] == []


def test_each_user_writes_what_topics_say_and_nobody_but_the_administrator_administers() -> None:
    """Made from the topics: here said once more, in words, for the two that move money."""
    writers = {
        stream.name: {user for user in USERS if f"%W~{stream.name}" in rights(user).split()} for stream in STREAMS
    }
    assert writers["stream:cmd"] == {"trading", "gateway"}  # the Gateway acknowledges: the same right
    assert writers["stream:order"] == {"strategy", "trading"}
    assert not [user for user in READERS if "%W~" in rights(user) or "+publish" in rights(user)]
    for user in (*SERVICES, *READERS):
        assert "+@" not in rights(user)
    assert "-@scripting" in rights(ADMIN)


class Running:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def as_user(self, user: str, *commands: str) -> list[str]:
        """What Redis says to each command; OK when it would be done."""

        async def ask() -> list[str]:
            bus = await RedisBus.connect(self.settings.redis_for(user))
            try:
                return [await self._said(bus, command) for command in commands]
            finally:
                await bus.close()

        return asyncio.run(ask())

    async def _said(self, bus: RedisBus, command: str) -> str:
        try:
            await bus.call(tuple(command.split()))
        except BusError as error:
            return "refused" if "does not let user" in str(error) else str(error)
        return "OK"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("redis")
    settings = load_settings(root=ROOT, data=data, port_offset=3420)
    house = {"ARBIG_ROOT": str(ROOT), "ARBIG_DATA": str(data), "ARBIG_PORT_OFFSET": "3420"}
    command = [sys.executable, "-m", "arbig.runtime.redis_server"]
    server = subprocess.Popen(command, env={**os.environ, **house}, stdout=subprocess.PIPE)
    assert server.stdout is not None
    while b"Ready to accept" not in server.stdout.readline():
        assert server.poll() is None
    yield Running(settings)
    server.terminate()
    server.communicate()


def test_a_strategy_cannot_command_and_readers_cannot_even_order(redis: Running) -> None:
    order, command = "xadd stream:order * data {}", "xadd stream:cmd * data {}"
    assert ["OK", "refused"] == redis.as_user("strategy", order, command)
    for user in ("web", "market", *READERS):
        assert ["refused", "refused"] == redis.as_user(user, order, command), user


def test_a_notebook_that_opens_redis_itself_can_order_nothing(redis: Running) -> None:
    """With the reader's password, which is what `settings.redis_for` hands to one; without any; as `default`."""
    writes = (
        *(f"xadd {stream.name} * data {{}}" for stream in STREAMS),
        *(f"publish {channel} {{}}" for channel in ("tick:au2512", "bar:au2512", "hb:trading")),
        "set arbig:epoch x",
        "xgroup create stream:cmd mine 0",
        "xack stream:order group:trading 1-0",
        "xtrim stream:order maxlen 0",
    )
    assert ["refused"] * len(writes) == redis.as_user("reader", *writes)
    assert ["OK"] == redis.as_user("reader", "xrange stream:trade - +")
    for name, password in (("", ""), ("default", ""), ("default", "guessed"), ("trading", "guessed")):
        address = RedisAddress(port=redis.settings.port("redis"), username=name, password=password)
        with pytest.raises(BusError, match="refuses user"):
            asyncio.run(RedisBus.connect(address))


@pytest.mark.parametrize("user", [*SERVICES, *READERS])
def test_no_user_but_the_administrator_empties_scripts_or_configures(redis: Running, user: str) -> None:
    allowed = {"keys *"} if user in READERS else set()
    said = dict(zip(FORBIDDEN, redis.as_user(user, *FORBIDDEN), strict=True))
    assert {command: "OK" if command in allowed else "refused" for command in FORBIDDEN} == said


def test_the_embedded_server_is_bound_to_this_machine_and_knows_no_default_user(redis: Running) -> None:
    configuration = (redis.settings.run / "redis.conf").read_text()
    assert "bind 127.0.0.1\n" in configuration and "protected-mode yes\n" in configuration
    with pytest.raises(BusError, match="refuses user 'default'"):
        asyncio.run(RedisBus.connect(RedisAddress(port=redis.settings.port("redis"))))


def test_a_server_that_everybody_on_the_network_may_use_is_refused() -> None:
    unguarded = {"bind": "* -::*", "protected-mode": "no"}
    (line,) = redis_server._open_door(RedisAddress(), unguarded)
    assert "listens beyond this machine (bind * -::*) and asks for no password" in line
    for guarded in ({"bind": "127.0.0.1 -::1", "protected-mode": "no"}, {"bind": "*", "protected-mode": "yes"}):
        assert [] == redis_server._open_door(RedisAddress(), guarded)
    assert [] == redis_server._open_door(RedisAddress(password="given"), unguarded)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this machine, signed by nobody else: certificate and key in one folder."""
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(["openssl", *words.split(), *names, *files], check=True, capture_output=True)
    return folder


def test_tls_is_spoken_and_a_certificate_that_nobody_vouches_for_is_refused(redis: Running, certificate: Path) -> None:
    """TLS ends in front of the embedded server here; what a password in clear would show, the proxy looks for."""
    plain = redis.settings.redis_for("trading")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    async def flow() -> None:
        carrying: list[asyncio.Task[None] | None] = []

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            carrying.append(asyncio.current_task())
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", plain.port)

            async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        sink.write(data)
                finally:
                    sink.transport.abort()

            await asyncio.gather(forward(reader, far_writer), forward(far_reader, writer), return_exceptions=True)

        async with await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context) as front:
            with Proxy("127.0.0.1", front.sockets[0].getsockname()[1]) as network:
                given = dict(port=network.port, username="trading", password=plain.password, tls=True)
                bus = await RedisBus.connect(RedisAddress(**given, ca=str(certificate / "cert.pem")))
                (entry_id,) = await bus.append([("stream:cmd", b"{}")])
                assert entry_id == (await bus.read("stream:cmd"))[-1].id
                await bus.close()
                await asyncio.gather(*filter(None, carrying))
                with pytest.raises(BusError, match="shows a certificate that nobody known here vouches for"):
                    await RedisBus.connect(RedisAddress(**given))

    asyncio.run(flow())
