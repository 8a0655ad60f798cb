"""Reach: whether a Ray cluster listens where we are told; Ray itself would try for minutes."""

from __future__ import annotations

import socket


def check_reachable(address: str) -> None:
    """`host:port` or `ray://host:port`; other words (`local`, `auto`) are Ray's. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()
