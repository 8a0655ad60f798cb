"""Ready: one question to a service, by the smallest of means: is it ready?"""

from __future__ import annotations

import socket
from pathlib import Path


def is_ready(port: int, token: str, path: str = "/ready", timeout: float = 2.0) -> bool:
    """Whether `GET path` on this machine is answered with success (a page that asks to log in is served, too)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as line:
            line.sendall(question(port, token, path))
            return is_success(line.recv(64))
    except OSError:
        return False


def question(port: int, token: str, path: str, host: str = "127.0.0.1") -> bytes:
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Bearer {token}", "Connection: close")
    return "\r\n".join((*lines, "", "")).encode()


def is_success(answer: bytes) -> bool:
    """`HTTP/1.1 200 OK`; a redirect counts, 401 and 503 do not."""
    return answer[9:10] in (b"2", b"3")


def accepts(path: Path, timeout: float = 1.0) -> bool:
    """Whether somebody listens on a unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(timeout)
            line.connect(str(path))
            return True
    except OSError:
        return False


def is_open(port: int, timeout: float = 1.0) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout):
            return True
    except OSError:
        return False
