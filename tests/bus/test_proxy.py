"""The bad network itself: each of its faults is the one it says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from proxy import Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(near: socket.socket) -> None:
        with closing(near), suppress(OSError):
            while data := near.recv(100):
                near.sendall(data)

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(near,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def call(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def says(line: socket.socket, words: bytes) -> bytes:
    line.sendall(words)
    return line.recv(100)


def silent(line: socket.socket) -> bool:
    line.settimeout(0.2)
    try:
        line.recv(100)
    except TimeoutError:
        return True
    finally:
        line.settimeout(5)
    return False


def test_a_cut_resets_what_there_is_and_lets_new_connections_in(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, closing(call(proxy.port)) as line, closing(call(proxy.port)) as other:
        assert (b"one", b"two") == (says(line, b"one"), says(other, b"two"))
        proxy.cut()
        for broken in (line, other):
            with pytest.raises(ConnectionResetError):
                broken.recv(100)
        with closing(call(proxy.port)) as fresh:
            assert b"three" == says(fresh, b"three")


def test_a_network_that_is_down_resets_new_connections_too_until_it_is_healed(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy:
        proxy.down()
        with pytest.raises(ConnectionResetError), closing(call(proxy.port)) as line:
            line.recv(100)
        proxy.heal()
        with closing(call(proxy.port)) as line:
            assert b"back" == says(line, b"back")


def test_a_frozen_connection_neither_carries_nor_closes_and_delivers_late(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, closing(call(proxy.port)) as line:
        says(line, b"before")
        proxy.freeze()
        line.sendall(b"late")
        with closing(call(proxy.port)) as fresh:
            fresh.sendall(b"new")
            assert silent(line) and silent(fresh)
            proxy.heal()
            assert (b"late", b"new") == (line.recv(100), fresh.recv(100))


def test_a_firewall_that_forgot_the_old_connections_lets_new_ones_work(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, closing(call(proxy.port)) as line:
        says(line, b"before")
        proxy.freeze(also_new=False)
        line.sendall(b"forgotten")
        with closing(call(proxy.port)) as fresh:
            assert b"new" == says(fresh, b"new")
        assert silent(line)


def test_a_lost_reply_takes_its_connection_with_it(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy:
        proxy.drop_replies(1, holding=b"two")
        with closing(call(proxy.port)) as line:
            assert b"one" == says(line, b"one")
            with pytest.raises(ConnectionResetError):
                says(line, b"two")
        with closing(call(proxy.port)) as line:
            assert b"two" == says(line, b"two")
        assert 1 == proxy.dropped


def test_a_slow_network_holds_each_packet_both_ways(echo: int) -> None:
    with Proxy("127.0.0.1", echo) as proxy, closing(call(proxy.port)) as line:
        says(line, b"quick")
        proxy.slow(0.3)
        line.sendall(b"slow")
        assert silent(line)
        assert b"slow" == line.recv(100)


def test_a_target_that_is_not_there_shows_as_a_reset(echo: int) -> None:
    with Proxy("127.0.0.1", 1) as proxy:
        with pytest.raises(ConnectionResetError), closing(call(proxy.port)) as line:
            line.recv(100)
        proxy.target = ("127.0.0.1", echo)
        with closing(call(proxy.port)) as fresh:
            assert b"found" == says(fresh, b"found")
