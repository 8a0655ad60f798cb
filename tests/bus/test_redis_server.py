"""The embedded server: safe, private, the same after every restart; an unsafe outside server is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from arbig.bus.port import BusError
from arbig.bus.redis import RedisAddress
from arbig.runtime import redis_server


def test_our_own_server_has_no_complaints(server: Any) -> None:
    assert [] == asyncio.run(redis_server.complaints(server.address("gateway")))


def test_a_second_server_on_the_same_folder_is_refused(server: Any) -> None:
    second = server.command()
    _, said = second.communicate(timeout=20)
    assert 78 == second.returncode
    expected = (
        f"arbig redis: {server.settings.data}/redis: another Redis works on this folder; end it with: arbig down\n"
    )
    assert expected == said.decode()


def test_the_record_is_for_us_alone_and_holds_no_password_in_the_users_file(server: Any) -> None:
    run = server.settings.run
    record = json.loads((run / "redis.json").read_text())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.glob("redis.*")}
    assert {"redis.json": 0o600, "redis.acl": 0o600, "redis.conf": 0o600} == modes
    acl = (run / "redis.acl").read_text()
    assert not [user for user, password in record["users"].items() if password in acl]


def test_port_and_passwords_stay_and_a_taken_port_gives_way(tmp_path: Path, server: Any) -> None:
    from arbig.runtime.settings import load_settings

    settings = load_settings(root=server.settings.root, data=tmp_path, port_offset=2300)
    first = redis_server.record_of(settings)
    assert first == redis_server.record_of(settings, first)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        moved = redis_server.record_of(settings, first)
    assert first.users == moved.users
    assert moved.port > first.port


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("reader", "XADD stream:order * data 1"),
        ("reader", "PUBLISH tick:au2512 1"),
        ("reader", "XREADGROUP GROUP group:trading x STREAMS stream:order >"),
        ("console", "XADD stream:cmd * data 1"),
        ("console", "DEL stream:order"),
        ("strategy", "XADD stream:cmd * data 1"),
        ("web", "XADD stream:order * data 1"),
        ("market", "XADD stream:trade * data 1"),
        ("trading", "XADD stream:other * data 1"),
        ("trading", "XTRIM stream:order MAXLEN 0"),
        ("gateway", "FLUSHALL"),
        ("gateway", "CONFIG SET appendonly no"),
        ("admin", "EVAL return 0"),
    ],
)
def test_nobody_may_do_what_is_not_his(server: Any, flows: Any, user: str, command: str) -> None:
    async def flow(opened: Any) -> None:
        bus = await opened(server.address(user))
        with pytest.raises(BusError, match=f"does not let user '{user}' do this"):
            await bus.call(tuple(command.split()))

    flows(flow)


def test_a_reader_asks_and_gets_json(server: Any, flows: Any) -> None:
    async def flow(opened: Any) -> None:
        await (await opened(server.address("gateway"))).append([("stream:trade", b'{"trade_id":"1"}')])

    flows(flow)
    assert 1 == redis_server.ask(server.settings, ["XLEN", "stream:trade"])
    assert ["stream:trade"] == redis_server.ask(server.settings, ["KEYS", "*"])
    ((entry_id, fields),) = redis_server.ask(server.settings, ["XRANGE", "stream:trade", "-", "+"])
    assert ["data", '{"trade_id":"1"}'] == fields
    assert entry_id == redis_server.ask(server.settings, ["XINFO", "STREAM", "stream:trade"])["last-generated-id"]
    with pytest.raises(BusError, match="unknown command"):
        redis_server.ask(server.settings, ["XLENN"])


def test_an_outside_server_with_unsafe_settings_is_refused_with_the_line_that_mends_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [redis_server.find_binary(), "--port", str(port), "--dir", tmp_path, "--maxmemory-policy", "allkeys-lru"]
    outside = subprocess.Popen(words, stdout=subprocess.PIPE)
    try:
        assert outside.stdout is not None
        while b"Ready to accept" not in outside.stdout.readline():
            assert outside.poll() is None
        address = RedisAddress(port=port)
        found = asyncio.run(redis_server.complaints(address))
        expected = [
            f"Redis 127.0.0.1:{port} has {name} {found!r}, expected {wanted!r}; "
            f"run: redis-cli -h 127.0.0.1 -p {port} CONFIG SET {name} {wanted}"
            for name, found, wanted in (
                ("appendonly", "no", "yes"),
                ("appendfsync", "everysec", "always"),
                ("maxmemory-policy", "allkeys-lru", "noeviction"),
            )
        ]
        assert expected == found
        with pytest.raises(BusError, match=re.escape(expected[0])):
            asyncio.run(redis_server.check_safe(address))
    finally:
        outside.terminate()
        outside.communicate()


def test_a_program_that_is_no_redis_is_named(flows: Any) -> None:
    async def flow(opened: Any) -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            gone.set()

        gone = asyncio.Event()
        async with await asyncio.start_server(greet, "127.0.0.1", 0) as web:
            port = web.sockets[0].getsockname()[1]
            with pytest.raises(BusError, match=f"127.0.0.1:{port} .*what answers there is not Redis"):
                await opened(RedisAddress(port=port))
            await gone.wait()

    flows(flow)


def test_the_version_of_an_old_server_is_told() -> None:
    (line,) = redis_server.version_complaints(RedisAddress(), "# Server\r\nredis_version:6.2.14\r\nos:Linux\r\n")
    assert "is version 6.2.14, expected 7.0 or newer" in line
