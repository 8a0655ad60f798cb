"""Reach: whether a Ray cluster listens where we are told (Ray itself would try for minutes), and in which we are."""

from __future__ import annotations

import socket
from typing import Any

_joined: dict[str, str] = {}
"""The cluster by its own address -> the address under which it was asked for."""


def check_reachable(address: str) -> None:
    """`host:port` or `ray://host:port`; other words (`local`, `auto`) are Ray's. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=5).close()


def joined(ray: Any, address: str) -> None:
    """Remember the cluster that this process is in now."""
    _joined[ray.get_runtime_context().gcs_address] = address


def check_same_cluster(ray: Any, address: str) -> None:
    """A process is in one cluster at a time. Raises ValueError, one line."""
    here = ray.get_runtime_context().gcs_address
    if address not in ("local", "auto", here, _joined.get(here)):
        raise ValueError(f"ray: found {address}, but this process is in the cluster at {here}; ray.shutdown() first")
